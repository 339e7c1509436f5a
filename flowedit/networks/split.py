"""A guided call on two devices at once: the unconditional rows on the one, the conditional on the other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from flowedit.machine import find_device
from flowedit.messages import InputError

Call = Callable[[], Tensor]


def second_device(name: str, first: torch.device) -> torch.device:
    """The device that takes the unconditional rows; raises InputError for one that is not there, or the first GPU."""
    try:
        place = find_device(name)
    except InputError as error:
        raise InputError(str(error).replace("runtime.device", "runtime.split_guidance")) from None
    if place.type != first.type:
        raise InputError(
            f"runtime.split_guidance={name}: both devices must be of one kind, and runtime.device is {first.type}"
        )
    if place.type != "cpu" and (place.index or 0) == (first.index or 0):
        raise InputError(f"runtime.split_guidance={name} is runtime.device itself: name another one, such as cuda:1")
    return place


def together(here: Call, there: Call) -> tuple[Tensor, Tensor]:
    """Both results: `there` runs in a thread of its own while `here` runs in this one; whichever fails is raised."""
    with ThreadPoolExecutor(1, "split-guidance") as pool:
        other = pool.submit(torch.no_grad()(there))
        first = here()
        return first, other.result()
