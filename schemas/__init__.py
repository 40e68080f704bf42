"""The contract between the write side and everybody who reads: one .avsc an event, and the code that carries it."""
