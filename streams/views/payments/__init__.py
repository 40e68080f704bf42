"""The views of payments."""
