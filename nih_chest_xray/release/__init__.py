"""Release: where the NIH's files are: in a folder, a zip, a tar or on the NIH's server."""
