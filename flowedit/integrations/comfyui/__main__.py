"""`python -m flowedit.integrations.comfyui COMFYUI` puts the nodes into a ComfyUI, and their example workflows."""

import shutil
import sys
from pathlib import Path

from flowedit.machine import whole_file
from flowedit.messages import Error, FileError, FileMissingError, InputError, one_line

NAME = "flowedit_nodes"
"""Of the folder in custom_nodes: not `flowedit`, which a program that has custom_nodes on its path would import."""

ENTRY = '''"""The nodes of the installed flowedit. Written by `python -m flowedit.integrations.comfyui`."""

from flowedit.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, comfy_entrypoint

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "comfy_entrypoint"]
'''


def put(comfyui: Path) -> Path:
    """Write custom_nodes/flowedit_nodes into the folder of a ComfyUI, in place of an earlier one, and return it.

    Raises FileMissingError for a folder that is no ComfyUI, FileError for what cannot be written.
    """
    if not (comfyui / "custom_nodes").is_dir():
        raise FileMissingError(f"{str(comfyui)!r} has no custom_nodes: give the folder of a ComfyUI")
    folder, here = comfyui / "custom_nodes" / NAME, Path(__file__).parent / "example_workflows"
    try:
        (folder / here.name).mkdir(parents=True, exist_ok=True)
        for each in sorted(here.iterdir()):
            shutil.copyfile(each, folder / here.name / each.name)
        with whole_file(folder / "__init__.py") as part:  # the last, so that no half of a node is loaded
            part.write_text(ENTRY, encoding="utf-8")
    except OSError as error:
        raise FileError(f"{str(folder)!r} cannot be written: {error.strerror or error}") from error
    return folder


def main() -> None:
    """The command."""
    try:
        if len(sys.argv) != 2:
            raise InputError("give one folder, that of your ComfyUI: python -m flowedit.integrations.comfyui ~/ComfyUI")
        print(f"wrote {put(Path(sys.argv[1]).expanduser())}: start ComfyUI again, and look for nodes of flowedit")
    except Error as error:
        sys.exit(one_line(error))


if __name__ == "__main__":
    main()
