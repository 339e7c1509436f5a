"""One clip to compare methods on: a video with its prompts, or an edit's YAML file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowedit.datasets import Pair, listing
from flowedit.datasets.pair import safe
from flowedit.edit_file import SUFFIXES, over


def one_clip(video: Path, flags: Mapping[str, Any], score_mask: Path | None = None) -> Pair:
    """The pair of a video file and flags, or of an edit's YAML file, over which flags win.

    A user's mask says what may change, and so where the background is, unless `score_mask` or the file names one.
    Raises ValueError for a file of several edits, FileNotFoundError for a mask or truth that is not there.
    """
    if video.suffix.lower() in SUFFIXES:
        found = listing.read(video).pairs
        if len(found) != 1:
            raise ValueError(f"{str(video)!r} holds {len(found)} edits: flowedit evaluate runs them all")
        (pair,) = found
        own = pair.flags.get("user_mask")
        named = None if own is not None and pair.mask == Path(own) else pair.mask
        pair = replace(pair, flags=over(pair.flags, flags), mask=named, problem=None)
    else:
        pair = Pair(safe(video.stem), "edit", "", video, None, dict(flags), None, None, None, (), None)
    mask = score_mask or pair.mask or pair.flags.get("user_mask")
    for what, path in (("mask", mask), ("truth", pair.truth)):
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{what} {str(path)!r} does not exist: check its path")
    return replace(pair, mask=None if mask is None else Path(mask))
