"""One door to the model hub: the local cache first, safetensors only, and every failure in one line."""

import errno
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.utils import logging as hub_logging

from flowedit.messages import DownloadError, FileError, InputError, first_line

SIZES = {
    "openai/clip-vit-large-patch14": "1.7 GB",
    "facebook/dino-vitb8": "0.3 GB",
    "Qwen/Qwen2.5-VL-7B-Instruct": "16.6 GB",
}

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)

NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

T = TypeVar("T")

_failed: dict[str, str] = {}


def model(cls: Any, place: str | Path, options: Mapping[str, Any]) -> Any:
    """A network in evaluation mode, on the CPU, of a folder or a name on the hub; `cls.from_pretrained` takes options.

    Raises DownloadError, one line with the size and what to do, if the hub's files cannot be had, and InputError for
    a folder that cannot be read, or whose weights are not safetensors or not all there.
    """
    always = {"use_safetensors": True, "output_loading_info": True}
    network, info = _fetch(place, lambda here: cls.from_pretrained(place, local_files_only=here, **always, **options))
    if missing := sorted(info["missing_keys"]):
        raise InputError(f"{str(place)!r} lacks {len(missing)} weights of a {cls.__name__}, such as {missing[0]}")
    return network.eval().requires_grad_(False)


def processor(cls: Any, place: str | Path) -> Any:
    """What prepares a network's input, from the same place; raises as `model` does."""
    return _fetch(place, lambda here: cls.from_pretrained(place, local_files_only=here, trust_remote_code=False))


def snapshot(
    repository: str, size: str, patterns: Sequence[str], advice: str, lacking: Callable[[Path], Sequence[str]]
) -> Path:
    """The folder of a repository in the local cache, whole; its files that match the patterns downloaded if need be.

    `lacking` names the files that a folder should have and has not: what an earlier download left half, or another
    program fetched in part, is completed. Raises what `unreachable` says, each time anew: a user may have repaired the
    connection.
    """
    from huggingface_hub import snapshot_download

    if (folder := cached_snapshot(repository, patterns, lacking)) is not None:
        return folder
    name = f"{repository} ({size}) from the model hub"
    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except MemoryError:
        raise
    except Exception as error:  # the hub's client raises its own kinds, its transport's and the system's
        raise unreachable(name, advice, error) from error
    if lost := lacking(folder):  # without a connection the client hands out what is there
        pickled = " (pickles are not read, see scripts/to_safetensors.py)" if lost[0].endswith("*.safetensors") else ""
        raise DownloadError(f"cannot get {name}: the cache {str(folder)!r} still lacks {lost[0]}{pickled}; {advice}")
    return folder


def cached_snapshot(repository: str, patterns: Sequence[str], lacking: Callable[[Path], Sequence[str]]) -> Path | None:
    """The folder of a repository in the local cache; None if it is not there, or not whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(patterns), local_files_only=True))
        return None if lacking(folder) else folder
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no name on the model hub: write OWNER/NAME") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError):
        return None
    except InputError:  # a file that cannot be read: the hub knows better
        return None


def download(name: str, advice: str, get: Callable[[], T]) -> T:
    """`get()`, with its failure as `unreachable` says it; DownloadError also for what failed before.

    A client's retries take half a minute: not once for each metric of each clip, but once in a process.
    """
    if name in _failed:
        raise DownloadError(_failed[name])
    try:
        return get()
    except MemoryError:
        raise
    except Exception as error:  # a client raises its own kinds, its transport's and the system's
        failure = unreachable(name, advice, error)
        if isinstance(failure, DownloadError):
            _failed[name] = str(failure)
        raise failure from error


def unreachable(name: str, advice: str, error: Exception) -> FileError:
    """What to raise for a failed download: DownloadError, or FileError where it could not be stored; one line each."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return FileError(f"{name} cannot be stored: {error.strerror}")
    return DownloadError(f"cannot get {name} ({first_line(error)[:99]}); {advice}")


def _fetch(place: str | Path, read: Callable[[bool], T]) -> T:
    """`read(local files only)`: a folder once; a hub's name from the cache, and if it is not there, from the hub."""
    if Path(place).is_dir():
        try:
            with quiet():
                return read(True)
        except MemoryError:
            raise
        except Exception as error:  # transformers, tokenizers and safetensors raise their own kinds
            raise InputError(f"{str(place)!r} cannot be loaded: {first_line(error)}") from error
    if not NAME.fullmatch(str(place)):
        raise InputError(f"{str(place)!r} is neither a folder nor a name on the model hub")
    try:
        with quiet():
            return read(True)
    except MemoryError:
        raise
    except Exception:  # not in the cache, or not whole: the hub knows better
        pass
    size = f" ({SIZES[str(place)]})" if str(place) in SIZES else ""
    advice = f"run once where the hub can be reached, or bring such a machine's cache folder to {HF_HUB_CACHE}"
    with quiet(bars=True):
        return download(f"{place}{size} from the model hub", advice, lambda: read(False))


_ALONE = threading.RLock()


@contextmanager
def quiet(*others: Any, bars: bool = False) -> Iterator[None]:
    """No messages of other libraries inside our own progress, and no bars but a download's: what matters we say.

    `others` are the `logging` modules of more libraries than transformers and the hub's client. One thread at a time:
    what loads a model changes states of the whole process as well, and another thread's model comes out empty.
    """
    from transformers.utils import logging as transformers_logging  # a second that a look into the cache need not cost

    libraries = (transformers_logging, *others)
    with _ALONE:
        shown = [(each, each.is_progress_bar_enabled()) for each in libraries]
        levels = [(each, each.get_verbosity()) for each in (*libraries, hub_logging)]
        for each in () if bars else libraries:
            each.disable_progress_bar()
        for each, _ in levels:
            each.set_verbosity(logging.CRITICAL)
        try:
            yield
        finally:
            for each, level in levels:
                each.set_verbosity(level)
            for each, had in shown:
                if had:
                    each.enable_progress_bar()
