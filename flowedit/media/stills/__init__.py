"""Clips that are pictures: a still, a folder of frames, an animated GIF or WebP; read, and written as they came."""
