"""Text encoders that families share: their released words, small ones with random weights, and their memory."""
