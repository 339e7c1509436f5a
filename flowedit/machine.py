"""The machine: files that appear whole and hashes of files, device, cores, threads, time and memory, cache, versions.

Importing it loads no torch, so that what only writes a file stays quick.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.messages import FileError, FileTakenError, InputError, OutOfMemoryError

if TYPE_CHECKING:
    import torch

ADVICE = (
    "lower it with --runtime gpu_8gb, --size or --frames, draws=1, runtime.dtype=bfloat16 or runtime.tiling=true "
    "(see flowedit/pipeline/TROUBLESHOOTING.md)"
)


GIB = 2**30

WAIT = "OMP_WAIT_POLICY"
"""The variable that tells OpenMP's threads how to wait for each other."""


def wait_asleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user chose otherwise; heard if torch is not imported yet.

    Where other programs want the cores too, threads that spin at every barrier take the time from the one that is
    waited for: an edit on two busy cores took five times as long as on one thread.
    """
    os.environ.setdefault(WAIT, "passive")


PARTIAL = ".part"
"""The end of the name of a file or folder that is being written; what a killed process left behind has it too."""


def read_json(path: Path, most: int = 64 * 2**20) -> Any:
    """What a JSON file holds, as plain values.

    Raises FileError for one that cannot be read, InputError for what is no file, longer than `most` bytes, or not JSON.
    """
    try:
        if not path.is_file():
            raise InputError(f"{str(path)!r} is not a file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise FileError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    return parsed_json(data, repr(str(path)), most)


def parsed_json(data: bytes, what: str, most: int = 64 * 2**20) -> Any:
    """Plain values from JSON; raises InputError, opened by `what`, for what is not JSON, too long or too deep."""
    if len(data) > most:
        raise InputError(f"{what} is longer than {most} bytes")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        reason = "it is nested too deep"
    except ValueError as error:  # a number of thousands of digits too
        reason = str(error)
    raise InputError(f"{what} is not JSON: {reason}")


_printed = threading.Lock()


@contextmanager
def muted() -> Iterator[None]:
    """What C and Rust libraries print inside the block goes nowhere; what is wrong is said once, by us."""
    with _printed, contextlib.ExitStack() as after:
        with suppress(OSError, ValueError, AttributeError):  # a process without them
            sys.stdout.flush()
            sys.stderr.flush()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            after.callback(os.close, nowhere)
            for place in (1, 2):
                kept = os.dup(place)
                after.callback(os.close, kept)
                after.callback(os.dup2, kept, place)
                os.dup2(nowhere, place)
        yield


@contextmanager
def whole_file(path: str | os.PathLike[str], parents: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to; on a clean exit one rename puts it in the place of `path`, or of an older file.

    Missing parents are made, unless `parents` is false. On an error `path` is as it was, and nothing new is left.
    Raises OSError where the folder or the disk refuses the file.
    """
    path = Path(path)
    part = _partial(path)
    with _parents(path.parent, parents):
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str], parents: bool = True) -> Iterator[Path]:
    """An empty folder beside `path` to write in; on a clean exit one rename gives it the name `path`.

    Missing parents are made, unless `parents` is false. On an error nothing new is left. Raises FileTakenError where
    `path` holds files by then, and OSError where the disk refuses the folder.
    """
    path = Path(path)
    part = _partial(path)
    with _parents(path.parent, parents):
        try:
            part.mkdir()
            yield part
            try:
                os.rename(part, path)
            except OSError as error:
                if path.exists():
                    raise FileTakenError(f"folder {str(path)!r} is there already: choose another name") from error
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")


@contextmanager
def _parents(folder: Path, make: bool) -> Iterator[None]:
    """The folder and those above it, made; on an error those that are new and empty go again."""
    new = [each for each in (folder, *folder.parents) if make and not each.exists()]
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in new:
            with suppress(OSError):
                each.rmdir()
        raise


class Meter:
    """`phases` maps each phase to its seconds and, in MiB, the most memory in use while it ran.

    On CUDA that is what the allocator held at most during the phase; on a CPU the process's resident memory at its
    most during the phase (Linux), or so far, which never falls (elsewhere).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.phases: dict[str, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times the block; raises MemoryError with advice where it runs out of memory."""
        import torch

        cuda = self._device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _reset_resident()
        start = time.perf_counter()
        try:
            yield
            if cuda:
                torch.cuda.synchronize(self._device)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                raise OutOfMemoryError(f"out of memory while the job was in its phase {name!r}: {ADVICE}") from error
            raise
        peak = torch.cuda.max_memory_allocated(self._device) / 2**20 if cuda else _resident()
        old = self.phases.get(name, {"seconds": 0.0, "peak_memory_mib": 0.0})
        self.phases[name] = {
            "seconds": round(old["seconds"] + time.perf_counter() - start, 3),
            "peak_memory_mib": round(max(old["peak_memory_mib"], peak), 1),
        }


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out."""
    import torch

    text = str(error).lower()  # the CPU, MPS and the CUDA libraries have no type of their own for it
    signs = ("out of memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(sign in text for sign in signs)


def _reset_resident() -> None:
    """The peak of resident memory starts anew from what is in use now, where Linux lets us."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident() -> float:
    """The process's peak resident memory in MiB; 0 where the system does not tell (Windows)."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        if peak_kib := re.search(r"VmHWM:\s+(\d+) kB", status):
            return int(peak_kib[1]) / 2**10
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def cache_folder(setting: str | None) -> Path | None:
    """The folder of `runtime.cache`: null for none, auto for the user's own, else the folder itself."""
    if setting is None:
        return None
    if setting != "auto":
        return Path(setting)
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home folder
        return (Path(base) if base else Path.home() / ".cache") / "flowedit"
    return None


def find_device(name: str) -> torch.device:
    """auto: the GPU when there is one, else the CPU; raises ValueError for one that is unknown or absent."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise InputError(f"runtime.device {name!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise InputError(
            f"runtime.device {name!r} is not here ({torch.cuda.device_count()} CUDA devices); use cpu or auto"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("runtime.device 'mps' is not here; use cpu or auto")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """A device as a user calls it: the CPU with its threads, or the name of the card."""
    import torch

    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU ({threads} thread{'' if threads == 1 else 's'})"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def free_memory(device: torch.device) -> float | None:
    """GiB of the device's own memory that are free; None where nobody tells, as on a CPU."""
    import torch

    if device.type != "cuda":
        return None
    try:
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # ours, and not in use
        return (torch.cuda.mem_get_info(device)[0] + held) / GIB
    except (RuntimeError, AssertionError):  # no driver: what runs there says so better
        return None


def why_no_gpu() -> str:
    """Why PyTorch sees no GPU on this machine, in one sentence with its version and the driver's."""
    import torch

    if torch.backends.mps.is_available():
        return "an Apple GPU is there, but not taken by itself as nobody has tried it (runtime.device=mps does)"
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this PyTorch ({torch.__version__}) was built without CUDA, so install one that was"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not re.match(r"\s*[\w]", hidden):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU"
    try:
        torch.cuda.init()
        reason = "it finds no device"
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split(". ")[0].split("\n")[0].rstrip(".")
    driver = f" (NVIDIA driver {found})" if (found := _driver()) else ""
    return f"PyTorch {torch.__version__} for CUDA {torch.version.cuda} says: {reason}{driver}"


def _driver() -> str | None:
    """The version of the NVIDIA driver, where Linux tells."""
    with suppress(OSError):
        if found := re.search(r"Module\s+(\d[\d.]*)", Path("/proc/driver/nvidia/version").read_text()):
            return found[1]
    return None


PACKAGES = ("flowedit", "torch", "diffusers", "transformers", "av", "decord", "opencv-python-headless", "numpy")


def versions(*more: str) -> dict[str, str | None]:
    """Of Python and of the packages that a result depends on, and of `more`."""
    return {"python": platform.python_version(), **{name: _version(name) for name in (*PACKAGES, *more)}}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of what a folder of pictures is made of."""


def digest(*parts: Any) -> str:
    """24 hexadecimal digits of SHA-256 over plain values."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:24]


def digest_file(path: Path) -> str:
    """The hash of a file's bytes, or of the pictures in a folder; what else lies there is not read."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGES and file.is_file())
        return digest(*([file.name, digest_file(file)] for file in files))
    status = path.stat()
    if not path.is_file():
        raise FileError(f"{str(path)!r} is not a file")  # a pipe would be waited for
    return _of_bytes(str(path), status.st_size, status.st_mtime_ns)


@cache
def _of_bytes(path: str, size: int, time: int) -> str:
    """Cached while size and time stand: one clip is edited by several methods."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(path: Path, whole: int = 64 * 2**20) -> str:
    """The hash of a checkpoint's files: names and bytes; a file above `whole` bytes by its size, ends and time.

    Reading tens of gigabytes would take longer than an edit.
    """
    parts: list[list[str | int]] = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        status, name = file.stat(), file.relative_to(path).as_posix()
        if status.st_size <= whole:
            parts.append([name, digest_file(file)])
        else:
            parts.append([name, status.st_size, status.st_mtime_ns, _ends(file)])
    return digest(*parts)


def _ends(path: Path, size: int = 2**20) -> str:
    with path.open("rb") as file:
        head = file.read(size)
        file.seek(-size, os.SEEK_END)
        return hashlib.sha256(head + file.read(size)).hexdigest()


def cores() -> int:
    """The cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pinned(threads: int | None) -> Iterator[None]:
    """That many threads of torch and OpenCV inside the block."""
    if threads is None:
        yield
        return
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
