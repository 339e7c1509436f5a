"""One editing method a file, each a pure function of latents, velocities, a grid and a noise source."""
