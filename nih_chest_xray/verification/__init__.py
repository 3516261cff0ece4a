"""Verification: whether a dataset is whole and true, and whether a folder can be built from."""
