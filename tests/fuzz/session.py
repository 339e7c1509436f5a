"""Cases by their number: a warm process, its good inputs, and each case in a folder of its own."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import harness
import inputs
import kinds
import spoilt
from harness import Verdict

assert spoilt, "its kinds are added when it is imported"

Run = Callable[..., tuple[str, list[str], Verdict]]


@contextmanager
def opened(place: Path) -> Iterator[Run]:
    """A function from a case's number to its kind, its command and how it ended; the case's folder is place/number."""
    before = dict(os.environ)
    os.environ.update(XDG_CACHE_HOME=str(place / "cache"), HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(place / "hub"))
    base = place / "base"
    base.mkdir(parents=True)
    harness.warm()
    inputs.prepare(base)
    _composed(base)

    def run(number: int, names: Sequence[str] | None = None) -> tuple[str, list[str], Verdict]:
        folder = place / str(number)
        folder.mkdir()
        rng = Random(number)
        name, argv = kinds.case(rng, base, folder, names)
        return name, argv, harness.run(argv, folder)

    try:
        yield run
    finally:
        os.environ.clear()
        os.environ.update(before)
        cleared(base)


def _composed(base: Path) -> None:
    """The configurations that most cases compose, so that the children find them."""
    from flowedit.config import compose
    from flowedit.pipeline.notices.unused import of_unused
    from flowedit.pipeline.plan import brief

    for name in ("tiny", "tiny5", "wan"):
        plain = {**inputs.PROMPTS, "steps": "1", "strength": "1", "size": "32x32", "backbone": str(base / name)}
        of_unused(brief(compose.compose(plain)), 1)
    gc.collect()
    gc.freeze()


def cleared(folder: Path) -> None:
    """A case's folder and what lies beside it are gone."""
    beside = (folder, *(folder.with_name(folder.name + end) for end in (".said", ".tmp")))
    for path in filter(Path.exists, beside):
        os.chmod(path, 0o700)
        if path.is_dir():
            (path / "o").is_dir() and not (path / "o").is_symlink() and os.chmod(path / "o", 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
