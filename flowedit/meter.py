"""Seconds and peak memory of each phase of a job, and advice where memory runs out."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

ADVICE = (
    "lower it with --size or --frames, runtime.rows=1, draws=1, runtime.dtype=bfloat16 or runtime.tiling=true "
    "(see the README on memory)"
)


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
            if _out_of_memory(error):
                raise MemoryError(f"out of memory while the job was in its phase {name!r}: {ADVICE}") from error
            raise
        peak = torch.cuda.max_memory_allocated(self._device) / 2**20 if cuda else _resident()
        old = self.phases.get(name, {"seconds": 0.0, "peak_memory_mib": 0.0})
        self.phases[name] = {
            "seconds": round(old["seconds"] + time.perf_counter() - start, 3),
            "peak_memory_mib": round(max(old["peak_memory_mib"], peak), 1),
        }


def _out_of_memory(error: BaseException) -> bool:
    said = str(error).lower()  # the CPU, MPS and the CUDA libraries have no type of their own for it
    signs = ("out of memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(sign in said for sign in signs)


def _reset_resident() -> None:
    """The peak of resident memory starts anew from what is held now, where Linux lets us."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident() -> float:
    """The process's peak resident memory in MiB; 0 where the system does not tell (Windows)."""
    with suppress(OSError):
        held = Path("/proc/self/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+) kB", held):
            return int(found[1]) / 2**10
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
