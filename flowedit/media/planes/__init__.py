"""Pictures as their file stores them, for files of which RGB of 8 bits does not hold all."""
