"""Hydra's own entry to evaluations: python scripts/evaluate.py dataset=edits.yaml modes=[inversion,inversion_free].

Values follow Hydra's grammar here. Keys are those of conf/evaluate.yaml, and those of an edit, which hold for every
method: steps=20 runtime.device=cuda. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from flowedit.config import compose
from flowedit.config.folder import folder
from flowedit.evaluation.options import evaluation

FAILED: list[str] = []
"""Points of the sweep in which some edit or score failed: the others run all the same."""


@hydra.main(config_path=str(folder()), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Evaluate one dataset with one point of the sweep; each point has a folder, and they share their jobs."""
    from flowedit.cli.progress import RichMonitor
    from flowedit.evaluation import evaluate, plan
    from flowedit.messages import one_line

    hydra_config = HydraConfig.get()
    point = f"point-{hydra_config.job.num}" if hydra_config.mode == RunMode.MULTIRUN else None
    try:
        # The overrides and not cfg: each method composes a configuration of its own from them.
        settings, rest = evaluation({}, hydra_config.overrides.task)
        with RichMonitor() as monitor:
            made = evaluate.evaluate(settings, plan.comparison(settings, {}, rest), monitor, point)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error
    print(made.folder / "index.html")
    if made.failed:
        FAILED.append(str(made.folder))


if __name__ == "__main__":
    sys.argv[1:] = [compose.renamed(text) for text in sys.argv[1:]]
    main()
    raise SystemExit(2 if FAILED else 0)
