"""Release: finds, downloads and reads the NIH's files: in folders, zips and tars, or from the NIH's server."""
