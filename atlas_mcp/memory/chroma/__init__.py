"""Chroma: a copy of the record's vectors that finds the nearest of many quickly, in a process of its own."""
