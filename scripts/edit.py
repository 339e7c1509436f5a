"""Hydra's own entry, for sweeps: python scripts/edit.py -m clip=clip.mp4 mode=random_noise,inversion,inversion_free.

Values follow Hydra's grammar here: quote a prompt as 'source="a fox, running"', or name an edit's YAML file
(clip=examples/cup.yaml), whose prompts need no quotes. A checkpoint folder is backbone=folder backbone.path=DIR.
Under torchrun several processes share one edit: torchrun --nproc-per-node 2 scripts/edit.py ...
runtime.context_parallel=2.
"""

import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich import box
from rich.table import Table

from flowedit.config import compose, edit_file
from flowedit.config.folder import folder
from flowedit.evaluation.results import tables
from flowedit.evaluation.sweeps import edit as sweep

BEGUN = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")

MADE: dict[str, tuple[dict[str, Any], Path]] = {}
"""run.yaml and the video of each point of a sweep by its name, such as mode-inversion-seed-1."""


def table() -> Table:
    """What each point of the sweep cost, and where it lies."""
    made = Table(box=box.SIMPLE)
    for column in ("point", "network evaluations", "seconds", "edit"):
        made.add_column(column, overflow="fold")
    for name, (run, video) in MADE.items():
        seconds = sum(phase["seconds"] for phase in run["phases"].values())
        made.add_row(name, str(run["network_evaluations"]), f"{seconds:.1f}", str(video))
    return made


@hydra.main(config_path=str(folder()), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Edit one clip with one point of the sweep."""
    from flowedit.backbones.families import follow
    from flowedit.cli.progress import RichMonitor
    from flowedit.media.probe import probe
    from flowedit.messages import one_line
    from flowedit.networks import parallel
    from flowedit.networks.acceleration import Acceleration
    from flowedit.pipeline.api import edit_settings

    try:
        task = HydraConfig.get().overrides.task
        settings = edit_file.swept(task)
        processes = parallel.join(settings.runtime.context_parallel, settings.runtime.device)
        if processes is not None and processes.rank > 0:
            if code := follow(Acceleration.of(settings.runtime), processes):
                raise SystemExit(code)
            return
        video = probe(settings.clip or "")
        several = HydraConfig.get().mode == RunMode.MULTIRUN
        name = sweep.point_name(task, compose.swept(sys.argv[1:])) if several else ""
        if name:
            place = Path(settings.out or Path("outputs") / video.path.stem / BEGUN)
            settings = replace(settings, out=str(place / name))
        with RichMonitor() as monitor, parallel.leading(processes):
            result = edit_settings(settings, video, monitor)
        MADE[name] = result.run, result.video
        print(result.video)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error


if __name__ == "__main__":
    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun's processes the first alone speaks
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.argv[1:] = [compose.renamed(text) for text in sys.argv[1:]]
    main()
    if len(MADE) > 1:
        tables.show([table()])
