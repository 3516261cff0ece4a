"""Catalog: a static page, digests and Croissant metadata of built datasets, made from the datasets themselves."""
