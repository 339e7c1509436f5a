"""What one tile takes in an autoencoder, by its configuration alone: a file each, and none needs torch."""
