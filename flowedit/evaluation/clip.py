"""One clip to compare methods on: a video with its prompts, or an edit's YAML file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowedit.datasets import Pair, listing
from flowedit.datasets.pair import safe
from flowedit.edit_file import SUFFIXES


def one_clip(video: Path, flags: Mapping[str, Any], score_mask: Path | None = None) -> Pair:
    """The pair of a video file and flags, or of an edit's YAML file, over which flags win.

    A user's mask says what may change, and so where the background is, unless `score_mask` or the file names one.
    Raises ValueError for a file of several edits, FileNotFoundError for a mask that is not there.
    """
    if video.suffix.lower() in SUFFIXES:
        found = listing.read(video).pairs
        if len(found) != 1:
            raise ValueError(f"{str(video)!r} holds {len(found)} edits: flowedit evaluate runs them all")
        pair = replace(found[0], flags={**found[0].flags, **flags}, problem=None)
    else:
        clip = safe(video.stem)
        pair = Pair(clip, "edit", "", video, None, dict(flags), None, None, None, (), None)
    mask = score_mask or pair.mask or pair.flags.get("user_mask")
    if mask is not None and not Path(mask).exists():
        raise FileNotFoundError(f"mask {str(mask)!r} does not exist: check its path")
    return replace(pair, mask=None if mask is None else Path(mask))
