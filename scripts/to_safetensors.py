"""Write safetensors beside the pickles (.bin) of a checkpoint folder, which flowedit does not read.

Only tensors are read of a pickle: whatever else it would run is refused (torch.load with weights_only). What has
safetensors already stays as it is. Shards stay shards, with an index.
"""

import argparse
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors.torch import save_file

from flowedit.machine import whole_file
from flowedit.messages import first_line
from flowedit.pretrained import layout

STEMS = {"pytorch_model": "model", "diffusion_pytorch_model": "diffusion_pytorch_model"}
"""The first word of a pickle's name, and of the safetensors file that both libraries look for."""

NAME = re.compile(rf"(?P<stem>{'|'.join(STEMS)})(\.(?P<variant>[\w-]+?))?(?P<shard>-\d+-of-(?P<count>\d+))?\.bin")


def convert(folder: Path) -> list[Path]:
    """The files that were written: one for each pickle of a component without safetensors, and an index of shards.

    Raises ValueError for a pickle that holds more than tensors, or holds none; for shards that are not all there; for
    pickles that are not named like weights; and for a folder without any.
    """
    written: list[Path] = []
    pickles = {part: sorted((folder / part).glob("*.bin")) for part in layout.PARTS}
    for part, paths in pickles.items():
        if not paths or layout.weights(folder / part) is not None:
            continue
        sets: dict[tuple[str, str | None, str | None], list[Path]] = {}
        for path in paths:
            if name := NAME.fullmatch(path.name):
                sets.setdefault((name["stem"], name["variant"], name["count"]), []).append(path)
        if not sets:
            names = " or ".join(f"{stem}.bin" for stem in STEMS)
            raise ValueError(f"{paths[0]}: weights are named {names}: rename it if it holds them")
        for (stem, variant, count), each in sets.items():
            written += _written(each, STEMS[stem], variant, count)
    if not any(pickles.values()):
        raise ValueError(f"{folder} holds no pickles: give the folder of a checkpoint, with model_index.json in it")
    return written


def _written(paths: Sequence[Path], stem: str, variant: str | None, count: str | None) -> list[Path]:
    """One file, or the shards of one and their index: all of them, or none."""
    folder = paths[0].parent
    if count is not None and len(paths) != int(count):
        raise ValueError(f"{folder} holds {len(paths)} of {int(count)} shards of {paths[0].name}: download it again")
    owners: dict[str, str] = {}
    size = 0
    made = []
    with ExitStack() as stack:
        for path in paths:
            tensors = _tensors(path)
            shard = (NAME.fullmatch(path.name) or {})["shard"] or ""
            made.append(folder / f"{'.'.join(filter(None, (stem, variant)))}{shard}.safetensors")
            save_file(tensors, stack.enter_context(whole_file(made[-1])), metadata={"format": "pt"})
            owners |= dict.fromkeys(tensors, made[-1].name)
            size += sum(each.nbytes for each in tensors.values())
        if count is not None:
            made.append(folder / ".".join(filter(None, (stem, "safetensors.index", variant, "json"))))
            index = {"metadata": {"total_size": size}, "weight_map": owners}
            stack.enter_context(whole_file(made[-1])).write_text(json.dumps(index, indent=2) + "\n")
    return made


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a pickle by their names, whether they lie in it at once or one level down."""
    try:  # of the format before torch 1.6 nothing can be mapped into memory
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises whatever the bytes of a file make of its reader
        raise ValueError(f"{path}: {first_line(error)}") from error
    levels = [found, *found.values()] if isinstance(found, Mapping) else []
    mappings = [each for each in levels if isinstance(each, Mapping)]
    holding = [each for each in mappings if any(isinstance(value, torch.Tensor) for value in each.values())]
    if len(holding) != 1:
        where = "no tensors by name" if not holding else f"{len(holding)} sets of tensors"
        raise ValueError(f"{path} holds {where}: give one with the weights of one network")
    return {str(name): each.clone() for name, each in holding[0].items() if isinstance(each, torch.Tensor)}


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
