"""What an evaluation can be told beside its methods, and where its jobs run, as frozen dataclasses from conf/."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EngineSettings:
    """`workers` None: one a core on the CPU, one a GPU otherwise; `address` is Ray's, None for a cluster of our own."""

    name: Literal["local", "ray"]
    workers: int | None
    retries: int
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"engine.workers {self.workers}: at least 1")
        if self.retries < 0:
            raise ValueError(f"engine.retries {self.retries}: at least 0")


@dataclass(frozen=True)
class EvaluationSettings:
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
    engine: EngineSettings

    def __post_init__(self) -> None:
        if isinstance(self.evaluations, int) and self.evaluations < 1:
            raise ValueError(f"evaluations {self.evaluations}: own, equal, or a number from 1 up")
        if self.scenes < 1 or self.first_seed < 0:
            raise ValueError(f"scenes {self.scenes} from seed {self.first_seed}: at least one, from 0 up")
        for text in self.edits:
            name, sign, place = text.partition("=")
            if not (sign and name and place):
                raise ValueError(f"edits {text!r} is not NAME=DIR: a method's name and the folder of its edits")

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
