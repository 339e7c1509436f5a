"""Hydra's own entry, for sweeps: python scripts/edit.py -m video=clip.mp4 mode=random_noise,inversion,inversion_free.

Values follow Hydra's grammar here: quote a prompt as 'source="a fox, running"', or name an edit's YAML file
(video=examples/cup.yaml), whose prompts need no quotes. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from flowedit import config, edit_file


@hydra.main(config_path=str(config.folder()), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Edit one clip with one point of the sweep."""
    from flowedit.cli import one_line
    from flowedit.progress import RichMonitor
    from flowedit.run import check, load_backbone, run

    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    try:
        settings = config.settings(edit_file.with_edit({str(k): v for k, v in values.items()}))
        check(settings)
        with RichMonitor() as monitor:
            print(run(settings, load_backbone(settings), monitor).video)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error


if __name__ == "__main__":
    main()
