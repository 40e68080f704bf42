"""Shipping: an order's parcels, on their way out, and what comes back."""
