"""Editing methods, each a pure function of latents, velocities, a grid and a noise source; and what they share."""
