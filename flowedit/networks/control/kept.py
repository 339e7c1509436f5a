"""What is held of the source's attention until the target asks for it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from flowedit.types import Conditioning


class Seen:
    """Queries, keys and values of one velocity of the source, by row of its guidance, block and name.

    `wait` brings a part to where it waits.
    """

    def __init__(self, t: float, sides: Sequence[Conditioning], wait: Callable[[Tensor], Tensor]) -> None:
        self.t, self.sides, self._wait = t, sides, wait
        self._parts: dict[tuple[int, int, str], list[Tensor]] = {}

    def add(self, row: int, block: int, name: str, part: Tensor) -> None:
        """Some draws (B, H, n, d) of it, after those that are here."""
        self._parts.setdefault((row, block, name), []).append(self._wait(part))

    def of(self, row: int, block: int, name: str, draws: range, like: Tensor) -> Tensor:
        """These draws (B, H, n, d), where `like` is; a source of fewer draws begins again with its first."""
        found = [each for part in self._parts[row, block, name] for each in part.split(1)]
        theirs = [found[i % len(found)] for i in draws]
        return torch.cat(theirs).to(like.device, non_blocking=True)


class Held:
    """The velocities of the source that are held, window by window: the last one, or with `path` those of all times."""

    def __init__(self, path: bool) -> None:
        self._path = path
        self._windows: dict[tuple[int, int] | None, dict[float, Seen]] = {}

    def has(self, window: tuple[int, int] | None, t: float) -> bool:
        """Whether there is one of this very time that stays: on a path the first that was evaluated at it."""
        return self._path and t in self._windows.get(window, {})

    def make_room(self, window: tuple[int, int] | None) -> None:
        """Forget what the next one takes the place of."""
        if not self._path:
            self._windows.pop(window, None)

    def keep(self, window: tuple[int, int] | None, seen: Seen) -> None:
        """Hold one."""
        self._windows.setdefault(window, {})[seen.t] = seen

    def shown(self, window: tuple[int, int] | None, t: float) -> Seen | None:
        """What a target at t looks at: the last source, if it is of this very time; on a path that nearest in time."""
        held = self._windows.get(window, {})
        return held.get(t if not self._path or not held else min(held, key=lambda each: abs(each - t)))
