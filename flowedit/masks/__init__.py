"""Where an edit happens."""
