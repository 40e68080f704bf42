"""Customers and their baskets: the load of the demo, the tests and the benchmarks."""
