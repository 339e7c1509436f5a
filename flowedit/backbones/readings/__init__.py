"""How prompts are read by text encoders that families share."""
