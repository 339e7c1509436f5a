"""Doors to flowedit from other programs: each speaks that program's words, and holds no editing logic."""
