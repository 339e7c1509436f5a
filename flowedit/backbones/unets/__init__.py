"""What UNets share: their blocks that see text, and noise predictions as velocities."""
