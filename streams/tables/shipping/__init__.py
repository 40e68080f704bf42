"""The tables of shipping."""
