"""A stand-in for ComfyUI's package of the same name; see ../README.md."""
