"""One clip by several seeds and strengths: a named folder for each, a table and a page over them."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.evaluation.results.rows import Row
from flowedit.messages import InputError

if TYPE_CHECKING:
    from flowedit.evaluation.files import Results
    from flowedit.types import Monitor

VARIED = ("seed", "strength")
"""Keys of which an edit takes several values."""


def points(flags: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Each point by its name, such as seed-1-strength-0.5, and what it sets; none where no key has several values.

    Raises ValueError for what is no list of numbers.
    """
    several: dict[str, list[str]] = {}
    for key in (key for key in VARIED if "," in str(flags.get(key, ""))):
        values = [part.strip() for part in str(flags[key]).strip("[] ").split(",")]
        if not all(re.fullmatch(r"\d*\.?\d+|\d+\.", value) for value in values):
            raise InputError(f"{key} {flags[key]!r} is no list of numbers: write --{key} {EXAMPLES[key]}")
        several[key] = list(dict.fromkeys(values))
    if not several:
        return {}
    made = [dict(zip(several, values, strict=True)) for values in itertools.product(*several.values())]
    return {"-".join(f"{key}-{value}" for key, value in point.items()): point for point in made}


def point_name(overrides: Sequence[str], keys: Iterable[str]) -> str:
    """The name of a point from its overrides, key=value, and the keys that have several values, such as steps-20."""
    from flowedit.evaluation.datasets.sample import safe

    values = dict(text.partition("=")[::2] for text in overrides)
    return safe("-".join(f"{key}-{values[key]}" for key in keys if key in values))


def over_points(made: Mapping[str, "Results"]) -> tuple[list[Row], list[str]]:
    """The rows of all points of a sweep as one table has them, and its methods: a line for each point and method.

    What is no method, such as the clip unedited, is the same at each point and stands once.
    """
    rows: list[Row] = []
    names: list[str] = []
    for number, (point, results) in enumerate(made.items()):
        own = {name: point if len(results.names) == 1 else f"{point}, {name}" for name in results.names}
        names += own.values()
        rows += [row._replace(method=own.get(row.method, row.method)) for row in results.rows
                 if row.method in own or not number]  # fmt: skip
    return rows, names


EXAMPLES = {"seed": "1,2,3", "strength": "0.5,0.7"}


def sweep(
    flags: Mapping[str, Any], overrides: Sequence[str], named: Mapping[str, Mapping[str, str]], monitor: "Monitor"
) -> "Results":
    """Edit the clip of `flags` at each of the `named` points of `points`, score the edits and write a page.

    The edits lie in folders of the points' names, in `out` or in outputs/CLIP/TIME; what a stopped run had made is not
    made again. Raises ValueError or OSError, in one line and before a model is loaded.
    """
    from flowedit.config.compose import compose
    from flowedit.evaluation.compare import one_clip, side_by_side
    from flowedit.evaluation.methods import PER_CLIP, Method
    from flowedit.evaluation.options import evaluation
    from flowedit.evaluation.plan import Comparison
    from flowedit.evaluation.sweeps.lattice import arranged

    clip = Path(str(flags["clip"]))
    own = {key: value for key, value in flags.items() if key in PER_CLIP and key != "clip"}
    rest = {key: value for key, value in flags.items() if key not in (*PER_CLIP, *VARIED, "out")}
    rest |= {key: flags[key] for key in VARIED if key in flags and key not in next(iter(named.values()))}
    chosen = []
    for name, point in named.items():
        whole = {**rest, **point}
        settings = compose(whole, overrides)
        mode = settings.mode.preset or settings.mode.name
        chosen.append(Method(name, settings, whole, tuple(overrides), mode=mode))
    out = Path(flags.get("out") or Path("outputs") / clip.stem / datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    options, _ = evaluation({"out": str(out)})
    sample = one_clip(clip, own)
    keys = next(iter(named.values()))
    varied = {key: list(dict.fromkeys(point[key] for point in named.values())) for key in keys}
    these = Comparison(
        tuple(chosen), chosen[0], even=False, lattices=arranged(list(named), [""], varied), swept=tuple(keys)
    )
    return side_by_side(options, these, sample, "edits", (out, out), monitor)
