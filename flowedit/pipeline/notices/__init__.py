"""What a user hears about an edit, a line each."""
