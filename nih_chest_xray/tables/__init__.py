"""Tables: reads the release's tables into pandas."""
