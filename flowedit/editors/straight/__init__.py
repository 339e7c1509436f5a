"""Editors that go straight from the source, without noise first: one method a file."""
