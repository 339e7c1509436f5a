"""One file a model family: what is known of it without torch."""
