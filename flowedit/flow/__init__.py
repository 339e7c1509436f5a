"""The rectified flow: bridge, grids of times, solvers, guidance, noise, windows."""
