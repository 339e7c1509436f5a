"""What an evaluation can be told beside its methods, and where its jobs run, as frozen dataclasses from conf/."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flowedit.config.compose import composed, keys, one_of, options, split, walked
from flowedit.config.options import build
from flowedit.messages import InputError, nearest


@dataclass(frozen=True)
class EngineOptions:
    """`workers` None: one a core on the CPU, one a GPU otherwise; `address` is Ray's, None for a cluster of our own."""

    name: Literal["local", "ray"]
    workers: int | None
    retries: int
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"engine.workers {self.workers}: at least 1")
        if self.retries < 0:
            raise InputError(f"engine.retries {self.retries}: at least 0")


@dataclass(frozen=True)
class EvaluationOptions:
    """Which edits, by which methods, scored by what, and where the jobs run; conf/evaluate.yaml says what each is."""

    dataset: str | None
    do: Literal["edit", "score", "both"]
    modes: tuple[str, ...] | None
    also: tuple[str, ...]
    edits: tuple[str, ...]
    evaluations: Literal["own", "equal"] | int
    metrics: tuple[str, ...]
    protocol: Literal["all", "five"]
    flow: Literal["dis", "raft"]
    first_seed: int
    scenes: int
    kinds: tuple[str, ...]
    out: str | None
    engine: EngineOptions

    def __post_init__(self) -> None:
        if isinstance(self.evaluations, int) and self.evaluations < 1:
            raise InputError(f"evaluations {self.evaluations}: own, equal, or a number from 1 up")
        if self.scenes < 1 or self.first_seed < 0:
            raise InputError(f"scenes {self.scenes} from seed {self.first_seed}: at least one, from 0 up")
        for text in self.edits:
            name, sign, place = text.partition("=")
            if not (sign and name and place):
                raise InputError(f"edits {text!r} is not NAME=DIR: a method's name and the folder of its edits")

    @property
    def chosen_modes(self) -> tuple[str, ...]:
        """`modes`, or by default all three; none where the edits of others alone are scored."""
        if self.modes is not None:
            return self.modes
        return () if self.do == "score" and self.edits else ("inversion_free", "inversion", "random_noise")

    @property
    def others(self) -> dict[str, str]:
        """Name → folder of the methods whose edits were made elsewhere."""
        return {name: place for name, _, place in (text.partition("=") for text in self.edits)}


def evaluation(
    flags: Mapping[str, Any] | None = None, overrides: Iterable[str] = ()
) -> tuple[EvaluationOptions, list[str]]:
    """An evaluation's own settings, and the overrides that are left for its methods.

    `flags` are plain values and taken to the letter, `engine.workers` among them; `overrides` are `key=value` in
    Hydra's grammar. Raises ValueError as `compose` does.
    """
    given = dict(flags or {})
    engine = [(key, str(given.pop(key))) for key in ("engine", "engine.workers") if key in given]
    pairs = [*engine, *map(split, overrides)]
    chosen = [(key, one_of(key, value, options(key))) for key, value in pairs if key == "engine"]
    known = evaluation_keys()
    dotted = walked(composed(tuple(f"{key}={value}" for key, value in chosen), "evaluate"))
    own, rest = [], []
    for key, value in pairs:
        if key.partition(".")[0] not in known:
            rest.append(f"{key}={value}")
        elif key in dotted:
            own.append(f"{key}={value}")
        else:
            raise InputError(f"unknown key {key!r}{nearest(key, dotted)}")
    values = composed(tuple(own), "evaluate")
    made: EvaluationOptions = build(EvaluationOptions, {key: values[key] for key in known} | given)
    return made, rest


def evaluation_keys() -> tuple[str, ...]:
    """The top-level keys of conf/evaluate.yaml that are not an edit's, and `out`, which is an evaluation's there."""
    return tuple(key for key in composed((), "evaluate") if key not in keys() or key == "out")
