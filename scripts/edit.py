"""Hydra's own entry, for sweeps: python scripts/edit.py -m video=clip.mp4 mode=random_noise,inversion,inversion_free.

Values follow Hydra's grammar here: quote a prompt as 'source="a fox, running"', or name an edit's YAML file
(video=examples/cup.yaml), whose prompts need no quotes. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from flowedit.config import compose, edit_file
from flowedit.pipeline import instruction


@hydra.main(config_path=str(compose.folder()), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Edit one clip with one point of the sweep."""
    from flowedit.cli.progress import RichMonitor
    from flowedit.messages import one_line
    from flowedit.pipeline.run import check, load_backbone, run

    try:
        settings = edit_file.swept(HydraConfig.get().overrides.task)
        with RichMonitor() as monitor:
            settings = instruction.complete(settings, monitor)
            check(settings)
            print(run(settings, load_backbone(settings), monitor).video)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error


if __name__ == "__main__":
    main()
