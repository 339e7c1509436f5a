"""A repository of the model hub, fetched by a process of its own, which can be stopped at any byte and goes on later.

`python -m flowedit.pretrained.fetch OWNER/NAME PATTERN ...` says what it does in lines of JSON on stdout, and ends when
its stdin is closed.
"""

import fnmatch
import hashlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flowedit.messages import Cancelled, one_line

LARGE, PIECE = 2**18, 2**18
"""Bytes from which on a file goes on where it was, and of a piece that is written at once. The hub's own client begins
such a file anew each time, and leaves what a killed one had written lying there."""

PARTIAL = ".flowedit.incomplete"

EVERY = 0.25
"""Seconds between two looks at what is there, and at whether to stop."""


def fetch(
    repository: str,
    patterns: Sequence[str],
    begin: Callable[[int], None],
    advance: Callable[[int], None],
    cancel: threading.Event | None = None,
) -> Path:
    """The folder of a repository, its files that match the patterns fetched, those that lie there already not again.

    `begin` hears how many bytes there are in all, `advance` how many more are there. Raises Cancelled within a second
    after `cancel` is set; partial files stay in the hub's cache, and the next call goes on with them. Raises OSError,
    with its number where it has one, for a hub that cannot be reached and for a disk that takes no more.
    """
    done = 0
    with _process([sys.executable, "-m", "flowedit.pretrained.fetch", repository, *patterns]) as heard:
        while True:
            if cancel is not None and cancel.is_set():
                raise Cancelled("the download was stopped: what is there is kept, and it goes on when you ask again")
            try:
                told = heard.get(timeout=EVERY)
            except queue.Empty:
                continue
            if told is None:
                raise OSError("the download ended without a word")
            if "total" in told:
                begin(told["total"])
            elif "done" in told:
                advance(told["done"] - done)
                done = told["done"]
            elif "error" in told:
                raise OSError(told["errno"], told["error"]) if told["errno"] else ConnectionError(told["error"])
            else:
                return Path(told["folder"])


@contextmanager
def _process(command: Sequence[str]) -> Iterator["queue.Queue[Any]"]:
    """A process and what it says, None at its end; it is gone with the block."""
    place = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH")]))
    made = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )
    heard: queue.Queue[Any] = queue.Queue()

    def listen() -> None:
        assert made.stdout is not None
        for line in made.stdout:
            with suppress(ValueError):  # what a library prints
                if isinstance(told := json.loads(line), dict):
                    heard.put(told)
        heard.put(None)

    threading.Thread(target=listen, name="download", daemon=True).start()
    try:
        yield heard
    finally:
        made.kill()
        made.wait()
        for pipe in (made.stdin, made.stdout):
            if pipe is not None:
                pipe.close()


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def _end_with_parent() -> None:
    """A process whose parent is gone, killed perhaps, downloads no further."""
    sys.stdin.buffer.read()
    os._exit(1)


def _there(blobs: Path, total: int) -> int:
    """Bytes that lie in a repository's cache, partial files too."""
    found = 0
    for path in blobs.iterdir() if blobs.is_dir() else ():
        with suppress(OSError):
            found += path.stat().st_size
    return min(found, total)


def _large(repository: str, name: str, blobs: Path) -> None:
    """A large file into the hub's cache, where `snapshot_download` finds it; a partial one goes on where it was.

    What went on is compared with its sha256 where the hub tells it.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

    constants.DOWNLOAD_CHUNK_SIZE = PIECE
    url = hf_hub_url(repository, name)
    facts = get_hf_file_metadata(url)
    if facts.etag is None or not re.fullmatch(r"[\w-]+", facts.etag):
        return
    whole, partial = blobs / facts.etag, blobs / f"{facts.etag}{PARTIAL}"
    blobs.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(f"{partial}.lock"):
        if whole.exists():
            return
        headers = build_hf_headers()
        if urlsplit(facts.location).netloc != urlsplit(url).netloc:  # of another host, which is not to learn of a token
            headers.pop("authorization", None)
        with partial.open("ab") as file:
            before = file.tell()
            http_get(facts.location, file, resume_size=before, headers=headers, expected_size=facts.size)
        if before and len(facts.etag) == 64 and _sha256(partial) != facts.etag:
            partial.unlink()
            raise ConnectionError(f"{name} is not what the hub has: it changed, or was damaged on its way")
        os.replace(partial, whole)
    Path(f"{partial}.lock").unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(repository: str, patterns: Sequence[str]) -> int:
    """What the process does: the size of all first, then the large files, one after the other, then the rest."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.constants import HF_HUB_CACHE

        files = HfApi().model_info(repository, files_metadata=True).siblings or []
        chosen = [each for each in files if any(fnmatch.fnmatch(each.rfilename, pattern) for pattern in patterns)]
        total = sum(each.size or 0 for each in chosen)
        blobs = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "blobs"
        _say(total=total)
        with _counted(blobs, total):
            for each in chosen:
                if (each.size or 0) >= LARGE:
                    with suppress(ImportError, TypeError):  # a client of another make: it gets the file itself, anew
                        _large(repository, each.rfilename, blobs)
            folder = snapshot_download(repository, allow_patterns=list(patterns))
        _say(done=total)
        _say(folder=str(folder))
    except Exception as error:  # the hub's client raises its own kinds, its transport's and the system's
        _say(error=one_line(error), errno=error.errno if isinstance(error, OSError) else None)
        return 1
    return 0


@contextmanager
def _counted(blobs: Path, total: int) -> Iterator[None]:
    """What is there is told while the block runs."""
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(EVERY):
            _say(done=_there(blobs, total))

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        ended.set()
        counter.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
