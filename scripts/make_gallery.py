"""Make one page of the examples: each clip, its mask, its edit, and the true edit where it is known.

    python scripts/make_gallery.py --out outputs/gallery
    python scripts/make_gallery.py mine.yaml --backbone cogvideox-2b --out DIR

The edits lie in DIR too. A page says of an edit that cannot be made why.
"""

import argparse
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path

import flowedit
from flowedit.cli.progress import RichMonitor
from flowedit.config.folder import example, example_names
from flowedit.evaluation.datasets import listing
from flowedit.evaluation.datasets.sample import Sample
from flowedit.evaluation.report.page import Exhibit, Page, write_page
from flowedit.messages import InputError, one_line
from flowedit.types import Monitor

HERE = Path(__file__).resolve().parent.parent
EXAMPLES = [*(example(name) for name in example_names()), example("fox").with_name("edits.yaml")]


def main(words: list[str] | None = None) -> None:
    """Edit all that the files name, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="edits in YAML (default: examples/*.yaml)")
    parser.add_argument("--out", type=Path, default=Path("outputs/gallery"), metavar="DIR")
    parser.add_argument("--backbone", default="pocket", help="the model that edits (default pocket)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of all edits")
    asked = parser.parse_args(words)
    try:
        if lost := [text for text in asked.set if "=" not in text]:
            raise InputError(f"--set {lost[0]!r}: give KEY=VALUE, such as --set steps=4")
        options = dict(text.partition("=")[::2] for text in asked.set)
        with RichMonitor() as monitor:
            print(make(asked.files or EXAMPLES, asked.out, asked.backbone, options, monitor))
    except (flowedit.Error, OSError) as error:
        raise SystemExit(f"error: {one_line(error)}") from error


def make(files: list[Path], out: Path, backbone: str, options: Mapping[str, str], monitor: Monitor) -> Path:
    """The page of the edits that these files hold, each edited with one loaded model."""
    editor = flowedit.load(backbone)
    samples = list(_samples(files))
    folders = _folders(f"{sample.name}-{sample.edit}" for sample, _ in samples)
    shown = [
        _exhibit(editor, *each, out / "edits" / name, options, monitor)
        for each, name in zip(samples, folders, strict=True)
    ]
    facts = {"model": backbone, "true edit": "drawn by the pocket world", "cores": str(os.cpu_count())}
    out.mkdir(parents=True, exist_ok=True)  # it is not there where no edit was made
    write_page(Page("What flowedit makes of its examples", facts, [], [], shown, {}), out / "index.html", monitor)
    return out / "index.html"


def _samples(files: list[Path]) -> Iterator[tuple[Sample, str]]:
    """The edits of the files with the command of each, an edit that was there before left out."""
    seen = set()
    for file in files:
        samples = listing.read(file).samples
        for sample in samples:
            asked = tuple(sample.flags.get(key) for key in ("source", "target", "instruction"))
            if (sample.clip, asked) not in seen:
                seen.add((sample.clip, asked))
                yield sample, f"flowedit edit {_near(file)}" if len(samples) == 1 else _command(sample)


def _folders(names: Iterable[str]) -> list[str]:
    """A folder's name for each of these; one that was there before has a number behind it."""
    folders: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in count(2))
        folders.append(next(each for each in chain([name], numbered) if each not in folders))
    return folders


def _command(sample: Sample) -> str:
    """The command line of one of several edits of a file."""
    flags = dict(sample.flags)
    words = ["flowedit", "edit", _near(sample.clip)]
    words += [str(flags.pop("instruction"))] if "instruction" in flags else []
    for key, value in flags.items():
        words += [f"--{key.replace('_', '-')}", str(value)] if "." not in key else [f"{key}={value}"]
    return shlex.join(words)


def _near(path: Path) -> str:
    """A path as it is typed in the checkout, or its last name alone."""
    return path.resolve().relative_to(HERE).as_posix() if path.resolve().is_relative_to(HERE) else path.name


def _exhibit(
    editor: flowedit.Editor, sample: Sample, command: str, folder: Path, options: Mapping[str, str], monitor: Monitor
) -> Exhibit:
    """One edit, made, with its mask and its truth; or why it was not made."""
    flags = {**sample.flags, **options}
    command = " ".join([command, *(shlex.quote(f"{key}={value}") for key, value in options.items())])
    told = {"name": sample.name, "edit": sample.edit, "kind": sample.kind, "clip": sample.clip, "truth": None}
    try:
        if sample.problem is not None:
            raise InputError(sample.problem)
        result = editor.edit(sample.clip, out=folder, monitor=monitor, **flags)
    except flowedit.Error as error:
        why = {"command": command, "not made here": one_line(error)}
        prompts = {"source": str(flags.get("source", "")), "target": str(flags.get("target", ""))}
        return Exhibit(**told, **prompts, edits={}, masks={}, facts=why)
    settings = result.run["settings"]
    films = {"mask": result.mask, "edit": result.video, "true edit": sample.truth}
    seconds = sum(phase["seconds"] for phase in result.run["phases"].values())
    facts = {"command": command, "seconds": f"{seconds:.1f}", "evaluations": str(result.run["network_evaluations"])}
    return Exhibit(
        **told,
        source=settings["source"],
        target=settings["target"],
        edits={name: path for name, path in films.items() if path is not None},
        masks={},
        facts=facts,
    )


if __name__ == "__main__":
    main()
