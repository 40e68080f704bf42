"""The views of catalog."""
