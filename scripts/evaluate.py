"""Hydra's own entry to evaluations: python scripts/evaluate.py dataset=edits.yaml modes=[inversion,inversion_free].

Values follow Hydra's grammar here. Keys are those of conf/evaluate.yaml, and those of an edit, which hold for every
method: steps=20 runtime.device=cuda. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from flowedit import config


@hydra.main(config_path=str(config.folder()), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Evaluate one dataset with one point of the sweep."""
    from flowedit import evaluation
    from flowedit.cli import one_line
    from flowedit.progress import RichMonitor

    try:
        # The overrides and not cfg: each method composes a configuration of its own from them.
        settings, rest = config.evaluation({}, HydraConfig.get().overrides.task)
        with RichMonitor() as monitor:
            made = evaluation.evaluate(settings, evaluation.compared(settings, {}, rest), monitor)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error
    print(made.folder / "index.html")
    if made.failed:
        raise SystemExit(2)


if __name__ == "__main__":
    main()
