"""What a job leaves: a folder that appears whole, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

FILES = ("edit.mp4", "compare.mp4", "mask.mp4", "video.mp4", "run.yaml")


class Staging:
    """A hidden folder beside the final one; `commit` moves its files there at once, leaving the block drops them."""

    def __init__(self, stage: Path, final: Path, fixed: bool) -> None:
        self.folder, self._final, self._fixed = stage, final, fixed

    def commit(self) -> Path:
        """Move the staged files to the final folder and return it.

        A new folder appears by one rename. Into a folder that is there already each file goes by a rename of its
        own, and what an earlier run left under our names and this one did not make is removed.
        """
        if self._fixed and self._final.exists():
            made = {path.name for path in self.folder.iterdir()}
            for name in FILES:
                if name in made:
                    os.replace(self.folder / name, self._final / name)
                else:
                    (self._final / name).unlink(missing_ok=True)
            return self._final
        final, count = self._final, 1
        while final.exists():
            count += 1
            final = self._final.with_name(f"{self._final.name}-{count}")
        os.chmod(self.folder, 0o777 & ~_umask())  # a temporary folder is private; the result need not be
        os.rename(self.folder, final)
        return final


@contextmanager
def staging(out: str | None, clip: str) -> Iterator[Staging]:
    """A staging area for --out, or for outputs/<clip>/<time>; raises OSError if it cannot be written."""
    final = Path(out) if out else Path("outputs") / clip / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if final.exists() and not final.is_dir():
        raise NotADirectoryError(f"out {str(final)!r} is a file; give a folder")
    parent = final.absolute().parent
    fresh = [p for p in (parent, *parent.parents) if not p.exists()]
    stage: Path | None = None
    done = False
    try:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=f".{final.name}-", suffix=".partial", dir=parent))
            if final.exists() and not os.access(final, os.W_OK):
                raise PermissionError(final)
        except OSError as error:
            raise OSError(f"out {str(final)!r} cannot be written: {error.strerror or 'permission denied'}") from error
        yield Staging(stage, final, bool(out))
        done = True
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        if not done:
            for path in fresh:
                _remove_empty(path)


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Plain values as YAML, in the order given."""
    path.write_text(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
