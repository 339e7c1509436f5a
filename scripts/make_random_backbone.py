"""Write a small checkpoint with random weights: python scripts/make_random_backbone.py DIR [2b|5b|1.5|wan]."""

import sys
from pathlib import Path

from flowedit.backbones.random_weights import save_random

if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(__doc__)
    print(save_random(Path(sys.argv[1]), *sys.argv[2:]))
