"""Catalog: makes a static page, digests and Croissant metadata from built datasets."""
