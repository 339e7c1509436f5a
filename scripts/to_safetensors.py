"""Write safetensors beside the pickles (.bin) of a checkpoint folder, which flowedit does not read.

Only tensors are read of a pickle: whatever else it would run is refused (torch.load with weights_only). What has
safetensors already stays as it is.
"""

import argparse
import pickle
from pathlib import Path

import torch
from safetensors.torch import save_file

from flowedit.machine import whole_file
from flowedit.messages import first_line
from flowedit.pretrained import layout

STEMS = {"pytorch_model": "model", "diffusion_pytorch_model": "diffusion_pytorch_model"}
"""The first word of a pickle's name, and of the safetensors file that both libraries look for."""


def convert(folder: Path) -> list[Path]:
    """The files that were written, one for each pickle of a component without safetensors.

    Raises ValueError for a pickle that holds more than tensors, and for a folder without any.
    """
    written = []
    pickles = [path for part in layout.PARTS for path in sorted((folder / part).glob("*.bin"))]
    for path in pickles:
        stem, _, variant = path.name.removesuffix(".bin").partition(".")
        if stem not in STEMS or layout.weights(path.parent) is not None:
            continue
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise ValueError(f"{path}: {first_line(error)}") from error
        tensors = {name: each.clone() for name, each in found.items() if isinstance(each, torch.Tensor)}
        place = path.with_name(".".join(filter(None, (STEMS[stem], variant, "safetensors"))))
        with whole_file(place) as part:
            save_file(tensors, part, metadata={"format": "pt"})
        written.append(place)
    if not pickles:
        raise ValueError(f"{folder} holds no pickles: give the folder of a checkpoint, with model_index.json in it")
    return written


def main() -> None:
    """Convert the folder and print what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    try:
        for path in convert(parser.parse_args().folder):
            print(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {first_line(error)}") from error


if __name__ == "__main__":
    main()
