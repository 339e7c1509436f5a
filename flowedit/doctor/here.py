"""What this machine has, told without torch: its GPU, free memory and disk, versions, codecs, the hub, extras."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flowedit.backbones import memory
from flowedit.machine import GIB, versions
from flowedit.media.formats.forms import ENCODERS
from flowedit.media.probe import codec_known

PATIENCE = 0.5
"""Seconds that the hub is given to answer."""

EXTRAS = {"app": "gradio", "upscale": "spandrel", "gguf": "gguf", "ray": "ray", "quant": "torchao"}
"""Packages by which an extra of ours is told to be installed."""

CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "prores")
"""What clips are mostly coded in."""


@dataclass(frozen=True)
class Gpu:
    """A card of NVIDIA's as its driver tells: GiB free and in all."""

    name: str
    free: float
    total: float
    driver: str
    uuid: str = ""
    """The driver's own name of it."""


@dataclass(frozen=True)
class Machine:
    """This machine. Memory and disk are in GiB, None where the system does not tell."""

    gpu: Gpu | None
    no_gpu: str
    """Why no GPU is counted with; empty where one is."""
    memory_free: float | None
    memory_total: float | None
    cache: Path
    disk_free: float | None
    system: str
    versions: dict[str, str | None]
    decodes: tuple[str, ...]
    encodes: tuple[str, ...]
    hub: str
    """Its address."""
    hub_answer: str
    """Whether it is reachable, in words."""
    extras: dict[str, bool]
    device: str = "auto"
    """That of `runtime`."""
    told: bool = True
    """Whether it is known which card, if any, networks would take."""

    @property
    def reachable(self) -> bool:
        """Whether the hub answered."""
        return self.hub_answer == "reachable"

    @property
    def on_host(self) -> bool:
        """Whether networks would run on the host: as asked, or as there is no card and none was asked for."""
        return self.device == "cpu" or (self.device == "auto" and self.gpu is None and self.told)

    @property
    def free(self) -> tuple[float | None, bool]:
        """GiB free where networks would run, None where nobody tells; and whether that is the host."""
        if self.on_host:
            return self.memory_free, True
        return None if self.gpu is None else self.gpu.free, False


def look(device: str = "auto") -> Machine:
    """Look at this machine, with the card that `runtime.device` names.

    What waits for a network waits half a second at most, while the rest is looked at.
    """
    cache, endpoint = hub()
    answer = _asked(endpoint)
    gpu, why, told = _gpu(device)
    free, total = memory.of_host()
    return Machine(
        gpu=gpu,
        no_gpu=why,
        memory_free=free,
        memory_total=total,
        cache=cache,
        disk_free=_disk(cache),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions() | {"torchao": _version("torchao")},
        decodes=tuple(name for name in CODECS if codec_known(name)),
        encodes=tuple(name for name, each in ENCODERS.items() if codec_known(each.library, write=True)),
        hub=endpoint,
        hub_answer=answer(),
        extras={name: importlib.util.find_spec(package) is not None for name, package in EXTRAS.items()},
        device=device,
        told=told,
    )


def _version(package: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _gpu(device: str = "auto") -> tuple[Gpu | None, str, bool]:
    """The card that PyTorch would take for a `runtime.device`, or why there is none; and whether that is known."""
    if device in ("cpu", "mps"):
        return None, f"runtime.device={device} asks for none", True
    reason = _no_cuda()
    if reason:
        return None, reason, True
    try:
        cards = _cards()
    except (OSError, AttributeError):
        return None, "no driver of NVIDIA's is here (cards of other makers are not looked at)", True
    if not cards:
        return None, "the driver of NVIDIA's finds no card", True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(len(cards))] if hidden is None else [each.strip() for each in hidden.split(",")]
    number = int(device.partition(":")[2] or 0)
    if number >= len(names):
        return None, f"runtime.device={device} is not here", True
    name = names[number]
    if name.isdecimal():
        found = cards[int(name) : int(name) + 1]
    else:
        found = [each for each in cards if each.uuid and each.uuid.lower().startswith(name.lower())]
    if len(found) == 1:
        return found[0], "", True
    lost = name.isdecimal() or (name.startswith("GPU-") and not found and all(each.uuid for each in cards))
    said = f"CUDA_VISIBLE_DEVICES={hidden!r} names"
    return None, f"{said} no card" if lost else f"{said} a card that is not known by its number or UUID", lost


def _no_cuda() -> str:
    """Why this PyTorch would look at no card; empty where it would."""
    torch = _version("torch") or ""
    if sys.platform == "darwin":
        return "an Apple GPU is not taken by itself (runtime.device=mps does)"
    if torch.endswith("+cpu"):
        return f"this PyTorch ({torch}) was built without CUDA"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not hidden.strip()[:1].isalnum():
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU"
    return ""


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def _library() -> Any:
    """NVIDIA's own library of what cards do, which comes with the driver; raises OSError where there is none."""
    return ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")


def _cards() -> list[Gpu]:
    """The cards that the driver tells of; none where it says nothing."""
    nvml, count, driver = _library(), ctypes.c_uint(), ctypes.create_string_buffer(96)
    if nvml.nvmlInit_v2():
        return []
    try:
        nvml.nvmlSystemGetDriverVersion(driver, len(driver))
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return [each for i in range(count.value) if (each := _card(nvml, i, driver.value.decode())) is not None]
    finally:
        nvml.nvmlShutdown()


def _card(nvml: Any, index: int, driver: str) -> Gpu | None:
    card, memory, name = ctypes.c_void_p(), _Memory(), ctypes.create_string_buffer(96)
    failed = nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(card))
    if failed or nvml.nvmlDeviceGetMemoryInfo(card, ctypes.byref(memory)):
        return None
    nvml.nvmlDeviceGetName(card, name, len(name))
    uuid = ctypes.create_string_buffer(96)
    nvml.nvmlDeviceGetUUID(card, uuid, len(uuid))
    free, total = memory.free / GIB, memory.total / GIB
    return Gpu(name.value.decode(errors="replace"), free, total, driver, uuid.value.decode(errors="replace"))


def _disk(folder: Path) -> float | None:
    """GiB free where a folder is, or will be."""
    with suppress(OSError, StopIteration):
        return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free / GIB
    return None


def hub() -> tuple[Path, str]:
    """The folder of the hub's cache, and its address."""
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    return Path(HF_HUB_CACHE), str(ENDPOINT)


def _asked(address: str) -> Callable[[], str]:
    """Knock at the hub, or at the proxy that leads to it; the function given back waits for the answer."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return lambda: "not asked: HF_HUB_OFFLINE is set"
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    place, heard = urlsplit(proxy or address), ["not reachable: no answer in half a second"]

    def knock() -> None:
        try:
            socket.create_connection((place.hostname or "", place.port or 443), PATIENCE).close()
            heard[0] = "reachable"
        except TimeoutError:
            pass
        except (OSError, UnicodeError, OverflowError) as error:
            heard[0] = f"not reachable: {getattr(error, 'strerror', None) or error}"

    thread = threading.Thread(target=knock, daemon=True)  # a name server that is silent cannot be timed out
    thread.start()

    def answer() -> str:
        thread.join(PATIENCE)
        return heard[0]

    return answer
