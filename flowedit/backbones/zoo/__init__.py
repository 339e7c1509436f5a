"""One file a model family: what it has of its own."""
