"""Loggers of other programs behind one interface: TensorBoard, and Weights & Biases, offline unless asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml

from flowedit.config.compose import WRITTEN
from flowedit.machine import muted


class Logger(Protocol):
    """One run of a program that keeps numbers and pictures over steps."""

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step, by name."""

    def picture(self, name: str, picture: np.ndarray) -> None:
        """A picture, uint8 (H, W, 3)."""

    def end(self, summary: Mapping[str, float]) -> None:
        """The numbers of the whole run; after it all is on the disk."""


class TensorBoard:
    """An event file for `tensorboard --logdir`."""

    def __init__(self, folder: Path, name: str, run: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))
        text = yaml.safe_dump(run["settings"], sort_keys=False, allow_unicode=True)
        self._writer.add_text("settings", "".join(f"    {line}\n" for line in text.splitlines()))
        self._writer.add_text("notices", "\n\n".join(run["notices"]) or "none")

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray) -> None:
        """An image."""
        self._writer.add_image(name, picture, dataformats="HWC")

    def end(self, summary: Mapping[str, float]) -> None:
        """Scalars of step 0, under `run/`."""
        self.numbers({f"run/{name}": value for name, value in summary.items()}, 0)
        self._writer.close()


def unplaced(run: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings and the notices of run.yaml with the paths of this machine cut to their last names."""
    cut: dict[str, str] = {}

    def shown(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in values.items():
            if isinstance(value, Mapping):
                made[key] = shown(value, f"{prefix}{key}.")
            elif isinstance(value, str) and WRITTEN.get(prefix + key) == "text" and _lies_here(value):
                made[key] = cut[value] = Path(value).name
            else:
                made[key] = value
        return made

    settings, notices = shown(run["settings"], ""), list(run["notices"])
    for path in sorted(cut, key=len, reverse=True):  # a folder after the files in it
        notices = [text.replace(path, cut[path]) for text in notices]
    return settings, notices


def _lies_here(text: str) -> bool:
    """Whether a text is a path of this machine, and no name of a model hub."""
    path = Path(text).expanduser()
    return path.is_absolute() or text.startswith(".") or (len(path.parts) > 1 and path.exists())


class WeightsAndBiases:
    """A run of Weights & Biases in a folder, for `wandb sync` later; with `online` it is sent at once.

    It says nothing of this machine: neither where files lie nor its name and command line.
    """

    def __init__(self, folder: Path, name: str, run: Mapping[str, Any], online: bool = False) -> None:
        with muted():
            import wandb

            folder.mkdir(parents=True, exist_ok=True)
            settings, notices = unplaced(run)
            self._wandb = wandb
            self._run = wandb.init(
                project="flowedit",
                name=name,
                dir=str(folder),
                config=settings,
                notes="\n".join(notices) or None,
                mode="online" if online else "offline",
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_code=True,
                    disable_git=True,
                    x_disable_meta=True,
                    x_disable_stats=True,
                    x_disable_machine_info=True,
                    host="",
                ),
            )
        self._folder = folder

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """A row of the history."""
        self._run.log(dict(values), step=step)

    def picture(self, name: str, picture: np.ndarray) -> None:
        """An image."""
        self._run.log({name: self._wandb.Image(picture)})

    def end(self, summary: Mapping[str, float]) -> None:
        """The run's summary."""
        self._run.summary.update(dict(summary))
        with muted():
            self._run.finish()
        for path in (self._folder / "wandb").glob("*"):
            if path.is_symlink():  # they lead to where the folder was made, not to where it will be
                path.unlink()


def _online(folder: Path, name: str, run: Mapping[str, Any]) -> Logger:
    return WeightsAndBiases(folder, name, run, online=True)


LOGGERS: dict[str, Callable[[Path, str, Mapping[str, Any]], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "wandb_online": _online,
}
"""By name: from the folder of the logs, the run's name and run.yaml as a dict to the logger."""


def log(
    name: str,
    folder: Path,
    title: str,
    run: Mapping[str, Any],
    steps: Sequence[tuple[int, Mapping[str, float]]],
    pictures: Mapping[str, np.ndarray],
    summary: Mapping[str, float],
) -> None:
    """A whole edit to a logger: (shot, numbers) of its steps in their order, pictures by name, and its summary."""
    logger = LOGGERS[name](folder, title, run)
    for place, (shot, values) in enumerate(steps):
        shown = {key: value for key, value in values.items() if key not in ("step", "total", "t_next")}
        logger.numbers({f"shot {shot}/{key}": value for key, value in shown.items()}, place)
    for key, picture in pictures.items():
        logger.picture(key, picture)
    logger.end(summary)
