"""What goes through a model: words, the clip in the autoencoder, patches, and attention block by block."""
