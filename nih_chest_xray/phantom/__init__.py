"""Phantom: a small synthetic release, drawn by code, for the `sample` config, tests and benchmarks."""
