"""Datasets of edits: one reader a layout."""
