"""Frames made larger: by a formula, by Real-ESRGAN, by a user's own network; steadily, and in the colours around."""
