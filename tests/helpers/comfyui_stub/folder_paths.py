"""A stand-in for ComfyUI's module of the same name; see README.md."""

import os
import tempfile

_TEMPORARY = tempfile.mkdtemp(prefix="comfyui-stub-")


def get_temp_directory():
    """Where a node puts what ComfyUI may remove."""
    return os.path.join(_TEMPORARY, "temp")


def get_output_directory():
    """Where results are saved."""
    return os.path.join(_TEMPORARY, "output")
