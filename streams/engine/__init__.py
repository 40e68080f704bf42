"""Batches to views, tables and reactions, with the position in the same write; knows no service."""
