"""The options of an evaluation beside its methods, and of the engine that runs its jobs; defaults are in conf/."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flowedit.config.options import build, check_ranges
from flowedit.declare import option
from flowedit.messages import InputError, nearest

MODES = ("inversion_free", "inversion", "random_noise")
"""What is compared where nothing else is asked for."""


@dataclass(frozen=True)
class EngineOptions:
    """Where the jobs run. Raises ValueError for a value out of range."""

    name: Literal["local", "ray"] = option(
        "where the jobs run: in processes on this machine, or on Ray (pip install 'flowedit[ray]')",
        typed="{local,ray}",
    )
    workers: int | None = option(
        "processes; null: one a core, or one a GPU (Ray: as many as the cluster has room for)", typed="N", least=1
    )
    retries: int = option("how often a job whose worker died is tried again", typed="N", least=0, flag=False)
    address: str | None = option(
        "Ray's cluster: null for one of our own on this machine, auto for the one that runs, or its address",
        typed="auto|HOST:PORT",
        flag=False,
        default=None,
    )

    def __post_init__(self) -> None:
        check_ranges(self, "engine.")


@dataclass(frozen=True)
class EvaluationOptions:
    """Which edits, by which methods, scored by what, and where the jobs run. Raises ValueError for what cannot be."""

    engine: EngineOptions = option("where the jobs run", flag=False)
    dataset: str | None = option(
        "what to edit: a .yaml list of edits, a folder in FiVE-Bench's layout, or pocket (scenes whose true edits are "
        "known)",
        typed="DATASET",
        flag=False,
    )
    do: Literal["edit", "score", "both"] = option("edit, score, or both", typed="{edit,score,both}")
    modes: tuple[str, ...] | None = option(
        "modes or presets, of which the first is compared with; all: every one that can do what is asked; null: "
        "inversion_free,inversion,random_noise, or none if only the edits of others are scored",
        typed="A,B",
    )
    also: tuple[str, ...] = option(
        'one more method, as a text of overrides: "mode=inversion mode.solver=heun"; without mode= it is the first '
        "mode with these set",
        typed="OVERRIDES",
    )
    sweep: tuple[str, ...] = option(
        "several values of any key of an edit, for each method; given twice, all pairs: a grid of videos",
        typed="KEY=A,B",
    )
    edits: tuple[str, ...] = option(
        "the edits of another method, to be scored beside ours",
        typed="NAME=DIR",
        check=lambda texts: all(_is_place(text) for text in texts),
        expected="NAME=DIR, a method's name and the folder of its edits",
    )
    evaluations: Literal["own", "equal"] | int = option(
        "network evaluations of each method: own (at its own steps), equal (as the first one's), or a number",
        typed="{own,equal,N}",
        least=1,
        expected="own, equal, or a number from 1 up",
    )
    metrics: tuple[str, ...] = option("metrics to score with; none: all that need no download", typed="A,B")
    protocol: Literal["all", "five"] = option(
        "all: every frame, means over edits; five: every 8th frame, means over kinds of edit (FiVE-Bench)",
        typed="{all,five}",
    )
    flow: Literal["dis", "raft"] = option(
        "optical flow of the warping metrics: dis (OpenCV), or raft (a download)", typed="{dis,raft}"
    )
    first_seed: int = option(
        "pocket and bench: seed of the first scene; below 1000000 to tune, below 2000000 to report", typed="N", least=0
    )
    scenes: int = option("pocket and bench: scenes of each kind", typed="N", least=1)
    kinds: tuple[str, ...] = option("pocket and bench: kinds of edit; none: all", typed="A,B")
    shadows: bool = option("pocket and bench: whether the scenes' objects cast a shadow", typed="{true,false}")
    out: str | None = option("folder of the results, and of what a stopped run goes on from", typed="DIR")

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def chosen_modes(self) -> tuple[str, ...]:
        """`modes`, or by default all three; none where the edits of others alone are scored."""
        if self.modes is not None:
            return self.modes
        return () if self.do == "score" and self.edits else MODES

    @property
    def others(self) -> dict[str, str]:
        """Name → folder of the methods whose edits were made elsewhere."""
        return {name: place for name, _, place in (text.partition("=") for text in self.edits)}


def evaluation(
    flags: Mapping[str, Any] | None = None, overrides: Iterable[str] = (), command: str = "evaluate"
) -> tuple[EvaluationOptions, list[str]]:
    """An evaluation's own options, and the overrides that are left for its methods.

    `command` names the file in conf/ whose defaults hold: evaluate, compare or bench. `flags` are plain values and
    taken to the letter, `engine.workers` among them; `overrides` are `key=value` in Hydra's grammar. Raises ValueError
    as `compose` does.
    """
    from flowedit.config.compose import composed, one_of, options, split, walked  # Hydra, which help does without

    given = dict(flags or {})
    engine = [(key, str(given.pop(key))) for key in ("engine", "engine.workers") if key in given]
    pairs = [*engine, *map(split, overrides)]
    chosen = [(key, one_of(key, value, options(key))) for key, value in pairs if key == "engine"]
    known = evaluation_keys()
    dotted = walked(composed(tuple(f"{key}={value}" for key, value in chosen), command))
    own, rest = [], []
    for key, value in pairs:
        if key.partition(".")[0] not in known:
            rest.append(f"{key}={value}")
        elif key in dotted:
            own.append(f"{key}={value}")
        else:
            raise InputError(f"unknown key {key!r}{nearest(key, dotted)}")
    values = composed(tuple(own), command)
    made: EvaluationOptions = build(EvaluationOptions, {key: values[key] for key in known} | given)
    return made, rest


def evaluation_keys() -> tuple[str, ...]:
    """The top-level keys of conf/evaluate.yaml that are not an edit's, and `out`, which is an evaluation's there."""
    from flowedit.config.compose import composed, keys

    return tuple(key for key in composed((), "evaluate") if key not in keys() or key == "out")


def _is_place(text: str) -> bool:
    name, sign, place = text.partition("=")
    return bool(sign and name and place)
