"""The views of inventory."""
