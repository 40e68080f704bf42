"""What production needs, told where things are by settings alone: rebuild, verify."""
