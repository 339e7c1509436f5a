"""Write a checkpoint with random weights, to try the machinery without a download; what it makes is noise.

2b, 5b, 1.5 and wan are small networks in the shape of a family. The name of a released checkpoint, such as
cogvideox-2b, gives its own files as they lie on the model hub: small, or with --real-size at its real size.
"""

import argparse
from pathlib import Path

from flowedit.backbones.random_weights import KINDS, save_random
from flowedit.backbones.released import RELEASES, save_released
from flowedit.messages import Error, one_line


def main() -> None:
    """Write the folder and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("kind", nargs="?", default="2b", metavar="KIND", help=", ".join([*KINDS, *RELEASES]))
    parser.add_argument("--real-size", action="store_true", help="a release at its real size: as much disk as it takes")
    about = "cut the text encoder, the largest part of a release, to so many layers (24)"
    parser.add_argument("--text-layers", type=int, metavar="N", help=about)
    options = parser.parse_args()
    try:
        if options.kind in RELEASES:
            small = not options.real_size
            print(save_released(options.folder, options.kind, small=small, text_layers=options.text_layers))
        elif options.real_size or options.text_layers is not None:
            parser.error(
                f"{options.kind} is no release: --real-size and --text-layers need one of {', '.join(RELEASES)}"
            )
        else:
            print(save_random(options.folder, options.kind))
    except (Error, OSError) as error:
        raise SystemExit(f"error: {one_line(error)}") from error


if __name__ == "__main__":
    main()
