"""From what was heard of an edit's steps to the files of its folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from flowedit.pipeline.logs.asked import LOGS, STEPS, loggers, saves
from flowedit.pipeline.logs.loggers import log
from flowedit.pipeline.logs.watcher import Watcher, facts_of
from flowedit.pipeline.plan import Plan
from flowedit.pipeline.record import Edited, Session
from flowedit.types import Backbone


def watching(plan: Plan, session: Session, folder: Path) -> Watcher | None:
    """A watcher that hears the session's steps and writes into `folder`; None where nothing of them is asked for."""
    session.watch = None
    if not saves(plan.settings) and not loggers(plan.settings):
        return None
    session.watch = watcher = Watcher(plan.brief, folder)
    return watcher


def finish(
    watcher: Watcher, plan: Plan, backbone: Backbone, edits: Sequence[Edited], run: dict[str, Any], folder: Path
) -> None:
    """edit_steps/ and edit_logs/ in `folder`: the files of the steps, contact sheets, and the logs."""
    numbers = watcher.numbers()
    shots = [(each.x_src, each.z, each.shot.geometry.source_frames) for each in edits]
    pictures = watcher.sheets(backbone, shots)
    mode = plan.settings.mode
    title = f"{plan.clip.video.path.stem} {mode.preset or mode.name}"
    for name in loggers(plan.settings):
        log(name, folder / LOGS, title, run, numbers, pictures, facts_of(run))
    watcher.tidy()
    if not saves(plan.settings):
        shutil.rmtree(watcher.folder, ignore_errors=True)
        return
    watcher.folder.mkdir(parents=True, exist_ok=True)  # strength 0 has no step
    for name, picture in pictures.items():
        encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        (watcher.folder / name).write_bytes(encoded.tobytes())
    if watcher.folder != folder / STEPS:
        shutil.move(watcher.folder, folder / STEPS)
