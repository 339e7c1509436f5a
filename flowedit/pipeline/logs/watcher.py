"""Hears each step of an edit: saves its tensors a file a step, its numbers, and the clean clips of a contact sheet."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from flowedit.machine import whole_file
from flowedit.media.pictures import grid
from flowedit.media.pixels import resize
from flowedit.messages import FileError
from flowedit.pipeline.logs.asked import loggers, saves
from flowedit.pipeline.outputs import umask
from flowedit.pipeline.plan import Brief
from flowedit.types import Backbone, Step

ROWS, COLUMNS, LEGIBLE, WIDTH = 6, 5, 192, 320
"""Of a contact sheet: steps, frames, and how wide a picture is at least and at most."""

NUMBERS = "numbers"


class Watcher:
    """Writes into `folder` what a step is asked to leave; one step's tensors are in memory at a time.

    shot-001-step-0007.safetensors: `z` the state after the step, `u_source` and `u_target` the last velocities of each
    side, all draws along the first axis, `mask`, and `maps_source`, `maps_target`, `maps_difference` (rows, K, F, H,
    W); `step` in its metadata is a JSON of t, t_next, step and total. What is there of a run that was killed stays.
    """

    def __init__(self, brief: Brief, folder: Path) -> None:
        self._brief, self.folder = brief, folder
        self._saves, self._logs = saves(brief.settings), bool(loggers(brief.settings))
        self._x_src: Tensor | None = None

    def begin(self, x_src: Tensor) -> None:
        """A shot's edit begins, of this source latent (1, C, F, H, W)."""
        self._x_src = x_src

    def __call__(self, step: Step) -> None:
        """Save what is asked of a step."""
        name = f"shot-{step.shot:03}-step-{step.index:04}"
        tensors: dict[str, Tensor] = {}
        if "steps" in self._saves:
            tensors |= {"z": step.z, **{f"u_{side}": u for side, u in step.velocities.items()}}
            tensors |= {} if step.mask is None else {"mask": step.mask}
        if "maps" in self._saves:
            tensors |= {f"maps_{side}": maps for side, maps in step.maps.items()}
        facts = {"t": step.t, "t_next": step.t_next, "step": step.index, "total": step.total}
        if tensors:
            self._save(name, tensors, facts)
        if self._logs or ("sheet" in self._saves and step.index in shown(step.total)):
            clean = self._brief.editor.clean(self._brief.settings.mode, step).mean(0, keepdim=True)
            if "sheet" in self._saves and step.index in shown(step.total):
                self._save(f"{name}-clean", {"z": clean}, facts)
            if self._logs:
                self._save(f"{name}-{NUMBERS}", {}, facts | self._numbers(step, clean))

    def _numbers(self, step: Step, clean: Tensor) -> dict[str, float]:
        assert self._x_src is not None
        change = (clean - self._x_src.to(clean.device)).square().mean().sqrt()
        found = {"change": float(change)}
        source, target = step.velocities.get("source"), step.velocities.get("target")
        if source is not None and target is not None and source.shape == target.shape:
            found["velocity_difference"] = float((target - source).square().mean().sqrt())
        if step.mask is not None:
            found["mask"] = float(step.mask.mean())
        return found

    def _save(self, name: str, tensors: dict[str, Tensor], facts: dict[str, float]) -> None:
        # Copies: views of one tensor cannot be in one file.
        whole = {key: each.detach().to("cpu", copy=True).contiguous() for key, each in tensors.items()}
        try:
            with whole_file(self.folder / f"{name}.safetensors") as part:
                save_file(whole, part, {"step": json.dumps(facts)})  # one entry: of several the order is by chance
                part.chmod(0o666 & ~umask())  # which safetensors keeps to its owner
        except (OSError, SafetensorError) as error:
            raise FileError(
                f"{str(self.folder / name)!r} cannot be saved: {error}; free some space, or leave out save"
            ) from error

    def tidy(self) -> None:
        """Remove what was noted for sheets and logs alone."""
        for path in [*self.folder.glob(f"*-{NUMBERS}.safetensors"), *self.folder.glob("*-clean.safetensors")]:
            path.unlink()

    def numbers(self) -> list[tuple[int, dict[str, float]]]:
        """(shot, numbers) of every step, in their order."""
        found = []
        for path in sorted(self.folder.glob(f"*-{NUMBERS}.safetensors")):
            with safe_open(path, "pt") as file:
                values = _facts(file)
            found.append((int(path.name.split("-")[1]), values))
        return found

    def sheets(self, backbone: Backbone, shots: Sequence[tuple[Tensor, Tensor, int]]) -> dict[str, np.ndarray]:
        """A contact sheet of each shot, uint8 (H, W, 3), by the name of its file.

        `shots`: the source's and the edit's latents, and the frames of the shot. Rows are the source, x_0 as a few
        steps foresee it, and the edit; columns a few frames, of as many as the model was trained on.
        """
        made = {}
        for number, (x_src, z, frames) in enumerate(shots, 1) if "sheet" in self._saves else ():
            name = f"shot-{number:03}"
            rows: list[tuple[str, Tensor]] = [("source, decoded", x_src)]
            for path in sorted(self.folder.glob(f"{name}-step-*-clean.safetensors")):
                with safe_open(path, "pt") as file:
                    facts = _facts(file)
                label = f"step {facts['step'] + 1:.0f} of {facts['total']:.0f}, t {facts['t']:.2f}"
                rows.append((label, load_file(path)["z"]))
            rows.append(("edit, unblended", z))
            made[f"{name}.png"] = _sheet(backbone, rows, frames)
        return made


def _facts(file: Any) -> dict[str, float]:
    return {key: float(value) for key, value in json.loads((file.metadata() or {})["step"]).items()}


def shown(total: int) -> set[int]:
    """The steps of so many that a contact sheet shows."""
    return {round(k * (total - 1) / (ROWS - 1)) for k in range(ROWS)}


def _sheet(backbone: Backbone, rows: Sequence[tuple[str, Tensor]], frames: int) -> np.ndarray:
    spec = backbone.spec
    seen = min(frames, spec.trained_frames)
    latents = spec.leading_latents + 1 - (-(seen - 1) // spec.frames_per_latent)
    places = sorted({round(k * (seen - 1) / (COLUMNS - 1)) for k in range(COLUMNS)})
    cells, labels = [], []
    for label, z in rows:
        for place, frame in zip(places, _frames(backbone, z[:, :, :latents], places), strict=True):
            scale = min(max(1, -(-LEGIBLE // frame.shape[1])), WIDTH / frame.shape[1])
            size = max(1, round(frame.shape[0] * scale)), max(1, round(frame.shape[1] * scale))
            cells.append(resize(frame[None], size))
            labels.append(f"{label}, frame {place}")
    return np.asarray(grid(cells, labels, len(places))[0])


@torch.no_grad()
def _frames(backbone: Backbone, z: Tensor, places: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames of a latent at these places, decoded by chunks, and no more than are needed."""
    wanted, done = list(places), 0
    for chunk in backbone.decode(z):
        while wanted and wanted[0] < done + len(chunk):
            yield chunk[wanted.pop(0) - done]
        done += len(chunk)
        if not wanted:
            return


def facts_of(run: dict[str, Any]) -> dict[str, float]:
    """The numbers of a whole edit, from its run.yaml."""
    seconds = {f"seconds/{name}": float(phase["seconds"]) for name, phase in run["phases"].items()}
    memory = {f"peak_memory_mib/{name}": float(phase["peak_memory_mib"]) for name, phase in run["phases"].items()}
    return {"network_evaluations": float(run["network_evaluations"]), **seconds, **memory}
