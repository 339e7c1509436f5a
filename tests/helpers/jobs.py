"""Jobs for the tests of the engine; a file of their own, so that other processes find them."""

import os
import signal
import time
from pathlib import Path


def double(spec, folder, monitor, shelf):
    """Twice the number; notes that it ran."""
    (folder / "file.txt").write_text(str(spec))
    _note(spec)
    return {"value": 2 * int(str(spec).partition(" ")[0])}


def raises(spec, folder, monitor, shelf):
    (folder / "half.txt").write_text("half")
    raise ValueError(f"{spec} is bad")


def dies_once(spec, folder, monitor, shelf):
    """Kills its worker the first time; spec is a path that remembers."""
    (folder / "half.txt").write_text("half")
    if not Path(spec).exists():
        Path(spec).write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": "alive"}


def dies(spec, folder, monitor, shelf):
    with Path(spec).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def threads(spec, folder, monitor, shelf):
    import cv2
    import torch

    return {"torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()}


def counts(spec, folder, monitor, shelf):
    """How many jobs of this worker have had this spec in a row, this one among them."""
    seen = shelf.keep("seen", spec, list)
    seen.append(spec)
    return {"value": len(seen)}


def waits(spec, folder, monitor, shelf):
    """Notes its process's number, and goes on when the file `go` is there."""
    place, name = Path(spec[0]), spec[1]
    (place / f"{name}.pid").write_text(str(os.getpid()))
    while not (place / "go").exists():
        time.sleep(0.02)
    return {"value": name}


def _note(spec):
    ran = os.environ.get("JOBS_RAN")
    if ran:
        with open(ran, "a") as file:
            file.write(f"{spec}\n")
