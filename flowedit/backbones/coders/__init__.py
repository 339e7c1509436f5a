"""How autoencoders that families share turn frames into latents and back."""
