"""Payments: money follows what orders say is due."""
