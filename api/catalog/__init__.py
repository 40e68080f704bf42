"""The catalog: what can be bought, and for how much."""
