"""How fast the path is: see path.py."""
