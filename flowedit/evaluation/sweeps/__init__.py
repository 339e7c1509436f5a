"""One clip by several values of a key: their names, their methods, and how they stand beside each other."""
