"""The way of a state to the host's memory."""

from flowedit.tensors import Tensor, torch


def on_host(z: Tensor) -> Tensor:
    """z in the host's memory, of any shape; `z.to(device, non_blocking=True)` brings it back.

    No step waits for the copy: the device makes it in its turn, as it does the way back.
    """
    if z.device.type != "cuda":
        return z.cpu()
    return torch.empty_like(z, device="cpu").pin_memory().copy_(z, non_blocking=True)
