"""Formats: a built dataset in other formats, in place or as a copy for other libraries."""
