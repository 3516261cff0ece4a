"""Verification: checks that a built dataset is complete and correct, and that a folder has what a build needs."""
