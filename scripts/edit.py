"""Hydra's own entry, for sweeps: python scripts/edit.py -m clip=clip.mp4 mode=random_noise,inversion,inversion_free.

Values follow Hydra's grammar here: quote a prompt as 'source="a fox, running"', or name an edit's YAML file
(clip=examples/cup.yaml), whose prompts need no quotes. A checkpoint folder is backbone=folder backbone.path=DIR.
"""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from flowedit.config import compose, edit_file
from flowedit.config.folder import folder


@hydra.main(config_path=str(folder()), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Edit one clip with one point of the sweep."""
    from flowedit.cli.progress import RichMonitor
    from flowedit.media.probe import probe
    from flowedit.messages import one_line
    from flowedit.pipeline.api import edit_settings

    try:
        settings = edit_file.swept(HydraConfig.get().overrides.task)
        video = probe(settings.clip or "")
        with RichMonitor() as monitor:
            print(edit_settings(settings, video, monitor).video)
    except Exception as error:
        raise SystemExit(f"flowedit: {one_line(error)}") from error


if __name__ == "__main__":
    sys.argv[1:] = [compose.renamed(text) for text in sys.argv[1:]]
    main()
