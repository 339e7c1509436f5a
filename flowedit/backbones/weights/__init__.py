"""What is laid over a checkpoint's own weights: LoRAs, and single files in place of its networks."""
