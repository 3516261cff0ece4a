"""Commands: what `nih-chest-xray` can do, one module a subcommand."""
