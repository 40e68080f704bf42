"""What production needs, told where things are by settings alone: see `python -m ops`."""
