"""The views of shipping."""
