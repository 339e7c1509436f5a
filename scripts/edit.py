"""Hydra's own entry, for sweeps: python scripts/edit.py -m video=clip.mp4 mode=random_noise,inversion,inversion_free.

Values follow Hydra's grammar here: quote a prompt as 'source="a fox, running"', or name an edit's YAML file
(video=examples/cup.yaml), whose prompts need no quotes. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from flowedit import config


@hydra.main(config_path=str(config.folder()), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Edit one clip with one point of the sweep."""
    from flowedit.progress import RichMonitor
    from flowedit.run import load_backbone, run

    values = OmegaConf.to_container(cfg, resolve=True)
    settings = config.settings(config.with_edit(values))
    with RichMonitor() as monitor:
        print(run(settings, load_backbone(settings), monitor).video)


if __name__ == "__main__":
    main()
