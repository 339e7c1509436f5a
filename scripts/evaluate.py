"""Hydra's own entry to evaluations: python scripts/evaluate.py dataset=edits.yaml modes=[inversion,inversion_free].

Values follow Hydra's grammar here. Keys are those of conf/evaluate.yaml, and those of an edit, which hold for every
method: steps=20 runtime.device=cuda. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from flowedit.config import compose
from flowedit.config.folder import folder
from flowedit.evaluation.options import evaluation
from flowedit.evaluation.sweeps import edit as sweep

MADE: dict[str, Any] = {}
"""The results of each point of a sweep by its name, such as steps-20; a failed edit in one ends no other.
"""


@hydra.main(config_path=str(folder()), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Evaluate one dataset with one point of the sweep; each point has a folder, and they share their jobs."""
    from flowedit.cli.progress import RichMonitor
    from flowedit.evaluation import evaluate, plan
    from flowedit.messages import one_line

    hydra_config = HydraConfig.get()
    task = hydra_config.overrides.task
    name = sweep.point_name(task, compose.swept(sys.argv[1:])) if hydra_config.mode == RunMode.MULTIRUN else ""
    try:
        # The overrides and not cfg: each method composes a configuration of its own from them.
        settings, rest = evaluation({}, task)
        with RichMonitor() as monitor:
            made = evaluate.evaluate(settings, plan.comparison(settings, {}, rest), monitor, name or None)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error
    print(made.folder / "index.html")
    MADE[name] = made


if __name__ == "__main__":
    sys.argv[1:] = [compose.renamed(text) for text in sys.argv[1:]]
    main()
    if len(MADE) > 1:
        from flowedit.evaluation.results import tables

        table = list(tables.tables(*sweep.over_points(MADE)))
        tables.show(table)
        tables.show(table, next(iter(MADE.values())).folder.parent / "table.txt")
    raise SystemExit(2 if any(each.failed for each in MADE.values()) else 0)
