"""Rows of results, their means and intervals, their tables."""
