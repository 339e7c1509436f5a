"""A picture of an edit while it runs: the clip that a step foresees, one frame of it."""

from __future__ import annotations

import numpy as np
import torch

from flowedit.messages import InputError
from flowedit.pipeline.api import Editor
from flowedit.types import Step

CONTEXT = 2
"""Latent frames before the shown one that are decoded with it. A causal autoencoder's frame depends on those before it:
on pocket the frame is then 48 dB from that of the whole clip (alone 35). With the shown one an odd number, as
CogVideoX's takes the first of an odd number of latents for one frame, and of an even number for several."""


@torch.no_grad()
def preview(editor: Editor, step: Step, *, place: float = 0.5, context: int = CONTEXT) -> np.ndarray:
    """A frame of the clean clip that a step foresees, uint8 (h, w, 3), RGB, at the working size.

    For a `callback` of `edit`: `preview(editor, step)`. `place` from 0 to 1 says where in the shot it lies, `context`
    how many latent frames before it are decoded as well (an even number). It changes nothing of the edit. Raises
    InputError for a step that did not come from an edit's callback, and for numbers out of range.
    """
    if step.clean is None:
        raise InputError("this step foresees no clip: give a step that the callback of an edit heard")
    if not 0 <= place <= 1 or context < 0 or context % 2:
        raise InputError(f"place {place:g} and context {context}: give 0 to 1, and an even number from 0 up")
    spec, z = editor.backbone.spec, step.clean()
    lead = spec.leading_latents  # which decode drops: any before the first that is wanted
    own = z.shape[2] - lead
    shown = round(place * (own - 1))
    first = max(0, shown - context)
    end = min(own, first + context + 1)
    last = (shown - first) * spec.frames_per_latent
    frame, done = None, 0
    for chunk in editor.backbone.decode(z[:, :, first : end + lead]):
        frame = chunk[min(last - done, len(chunk) - 1)]
        done += len(chunk)
        if done > last:
            break
    assert frame is not None
    return np.asarray(frame)
