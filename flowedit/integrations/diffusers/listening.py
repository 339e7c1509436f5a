"""What an edit tells while it runs, in the ways of diffusers: a bar of progress, a callback after each step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from flowedit.messages import InputError, nearest
from flowedit.types import Backbone, Step

TENSORS = ("latents", "mask")
"""What a callback may ask for: the state after the step, as the pipeline lays out its latents, and the step's mask."""

StepHeard = Callable[[Any, int, Any, dict[str, Any]], "dict[str, Any] | None"]
"""callback_on_step_end(pipe, step, timestep, tensors); what it gives back under "latents" the edit goes on with."""


class ProgressBar:
    """A monitor that draws each phase that has units as the pipeline's own bar of progress."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._bar: Any = None

    def phase(self, name: str, total: int) -> None:
        """A phase of `total` units begins; 0 is unknown, and has no bar."""
        self.close()
        if total:
            self._bar = self._pipe.progress_bar(total=total)
            self._bar.set_description(name)

    def advance(self, count: int = 1) -> None:
        """Units of the phase that are done."""
        if self._bar is not None:
            self._bar.update(count)

    def notice(self, text: str) -> None:
        """Notices go to the logger `flowedit`."""

    def close(self) -> None:
        """The bar that is drawn is done."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def check_asked(names: Sequence[str]) -> None:
    """Raise InputError for tensors that no step has."""
    for name in names:
        if name not in TENSORS:
            raise InputError(
                f"callback_on_step_end_tensor_inputs: no step has {name!r}{nearest(name, TENSORS)}; it has "
                f"{', '.join(TENSORS)}"
            )


def heard_by(
    pipe: Any,
    backbone: Backbone,
    callback: StepHeard | None,
    names: Sequence[str],
    laid_out: Callable[[Tensor], Tensor],
) -> Callable[[Step], bool | Tensor | None]:
    """A callback of flowedit that keeps the pipeline's own properties, and calls the one of diffusers.

    `laid_out` turns a latent (B, C, F, H, W) into the pipeline's layout, and back. It stops the edit where the callback
    sets `pipe._interrupt`.
    """
    timestep = getattr(getattr(backbone, "architecture", None), "timestep", lambda t: 1000 * t)

    def heard(step: Step) -> bool | Tensor | None:
        pipe._num_timesteps, pipe._current_timestep = step.total, torch.tensor(float(timestep(step.t)))
        if callback is None:
            return bool(pipe._interrupt)
        latents = laid_out(step.z)
        have = {"latents": latents, "mask": step.mask}
        given = {name: have[name] for name in names}
        back = callback(pipe, step.index, pipe._current_timestep, dict(given)) or {}
        if pipe._interrupt:
            return True
        z = back.get("latents", given.get("latents"))
        if z is given.get("latents"):
            return None
        if not isinstance(z, Tensor) or z.shape != latents.shape:
            raise InputError(f"the callback gives other latents back: give {tuple(latents.shape)}, as they came")
        return laid_out(z)

    return heard
