"""What an edit is told: from an instruction or a clip to prompts and words."""
