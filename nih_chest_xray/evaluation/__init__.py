"""Evaluation: turns scores into figures, each with its interval and its n. Arrays and tables in, tables out."""
