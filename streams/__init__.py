"""The read side: topics to views, tables and reactions."""
