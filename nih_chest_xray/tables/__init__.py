"""Tables: what the release's tables say, read into pandas."""
