"""Doors for other programs: diffusers pipelines and ComfyUI nodes around flowedit's own Python API."""
