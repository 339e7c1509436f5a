"""Video files, frames, masks and sound."""
