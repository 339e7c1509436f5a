"""One door to the model hub: the local cache first, safetensors only, and every failure in one line."""

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging

from flowedit.messages import DownloadError, InputError

SIZES = {
    "openai/clip-vit-large-patch14": "1.7 GB",
    "facebook/dino-vitb8": "0.3 GB",
    "Qwen/Qwen2.5-VL-7B-Instruct": "16.6 GB",
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)

NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

T = TypeVar("T")

_failed: dict[str, str] = {}


def model(cls: Any, place: str | Path, options: Mapping[str, Any]) -> Any:
    """A network in evaluation mode, on the CPU, of a folder or a name on the hub; `cls.from_pretrained` takes options.

    Raises ConnectionError, one line with the size and what to do, if the hub's files cannot be had, and ValueError
    for a folder that cannot be read, or whose weights are no safetensors or not all there.
    """
    always = {"use_safetensors": True, "output_loading_info": True}
    found, notes = _fetch(place, lambda here: cls.from_pretrained(place, local_files_only=here, **always, **options))
    if missing := sorted(notes["missing_keys"]):
        raise InputError(f"{str(place)!r} lacks {len(missing)} weights of a {cls.__name__}, such as {missing[0]}")
    return found.eval().requires_grad_(False)


def processor(cls: Any, place: str | Path) -> Any:
    """What prepares a network's input, from the same place; raises as `model` does."""
    return _fetch(place, lambda here: cls.from_pretrained(place, local_files_only=here, trust_remote_code=False))


def download(name: str, advice: str, get: Callable[[], T]) -> T:
    """`get()`, with its failure as `unreachable` says it; ConnectionError also for what failed before.

    A client's retries take half a minute: not once for each metric of each clip, but once in a process.
    """
    if name in _failed:
        raise DownloadError(_failed[name])
    try:
        return get()
    except MemoryError:
        raise
    except Exception as error:  # a client raises its own kinds, its transport's and the system's
        found = unreachable(name, advice, error)
        if isinstance(found, ConnectionError):
            _failed[name] = str(found)
        raise found from error


def unreachable(name: str, advice: str, error: Exception) -> OSError:
    """What to raise for a failed download: ConnectionError, or OSError where it could not be stored; one line each."""
    if isinstance(error, OSError) and error.errno in FULL:
        return OSError(f"{name} cannot be stored: {error.strerror}")
    return ConnectionError(f"cannot get {name} ({first_line(error)[:99]}); {advice}")


def first_line(error: Exception) -> str:
    """An error in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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


@contextmanager
def quiet(bars: bool = False) -> Iterator[None]:
    """No chat of other libraries inside our own progress, and no bars but a download's."""
    shown, levels = logging.is_progress_bar_enabled(), [chat.get_verbosity() for chat in (logging, hub_logging)]
    if not bars:
        logging.disable_progress_bar()
    for chat in (logging, hub_logging):
        chat.set_verbosity_error()
    try:
        yield
    finally:
        for chat, level in zip((logging, hub_logging), levels, strict=True):
            chat.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
