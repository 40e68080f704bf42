"""The inventory: what is in the warehouse, and what of it is promised to whom."""
