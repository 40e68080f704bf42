"""Shipping: parcels on their way out, by a carrier, and goods on their way back."""
