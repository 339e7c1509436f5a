"""English: object words, instructions, captions."""
