"""The `marea` command: the local stack, load, rebuild, verify."""
