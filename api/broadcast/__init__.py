"""Changes as they happen, to as many as listen."""
