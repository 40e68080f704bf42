"""Payments: what a customer owes, and what has been done about it at the provider."""
