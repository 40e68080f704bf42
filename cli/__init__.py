"""The `marea` command: puts everything together."""
