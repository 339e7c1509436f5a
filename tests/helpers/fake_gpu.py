"""A GPU that is not there: shapes, devices, precisions and memory of whole edits at real size, without weights.

Every tensor inside is fake (it has a shape, a precision and a device, and no content), so an operation between two
devices or precisions fails as on a card, and the bytes that live tensors on the card hold can be counted. What is not
seen: the content of tensors, and what kernels and the allocator take for themselves.
"""

import weakref
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.hooks.group_offloading import ModuleGroup
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from flowedit.backbones import adapter, families
from flowedit.backbones.checkpoint import Checkpoint, quiet
from flowedit.backbones.encoders import clip, llama, t5
from flowedit.backbones.released import RELEASES, network, save_words
from flowedit.backbones.sheets import hunyuan
from flowedit.config import compose
from flowedit.networks import attention
from flowedit.pipeline import plan, record, steer

CUDA = torch.device("cuda", 0)
TOKENIZERS = {
    "T5Tokenizer": cache(t5.tokenizer),
    "CLIPTokenizer": cache(clip.tokenizer),
    "TokenizersBackend": cache(partial(llama.tokenizer, hunyuan.TEMPLATE, hunyuan.SKIPPED)),
}
BLOCK = 512
"""PyTorch's allocator rounds up to so many bytes."""


class Card(TorchDispatchMode):
    """Counts the bytes of live tensors on the card, and copies between card and host, by the operation that asks."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.copies = Counter()
        """(direction, operation): how often the host waited for the card, or for the copy to it."""
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "is_nonzero", "nonzero", "equal") and args[0].device.type == "cuda":
            self.copies["to host", name] += 1
        if name == "_local_scalar_dense":
            return {torch.bool: True}.get(args[0].dtype, 0.0 if args[0].dtype.is_floating_point else 0)
        out = func(*args, **kwargs)
        self._note_copy(name, args, kwargs, out)
        for each in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(each, Tensor) and each.device.type == "cuda":
                self.hold(each)
        return out

    def _note_copy(self, name, args, kwargs, out):
        if name not in ("_to_copy", "copy_") or not isinstance(out, Tensor):
            return
        source = args[0] if name == "_to_copy" else args[1]
        waits = not kwargs.get("non_blocking", False) and not (name == "copy_" and len(args) > 2 and args[2])
        if isinstance(source, Tensor) and source.device.type != out.device.type and waits:
            self.copies["to host" if out.device.type == "cpu" else "to card", name] += 1

    def hold(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // BLOCK) * BLOCK
        if key not in self.seen and size:
            self.seen[key] = size
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, key)

    def _free(self, key):
        self.live -= self.seen.pop(key)


class Calls(TorchFunctionMode):
    """What fake tensors cannot do: give an array, lie in pinned memory, choose an attention kernel."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.numpy:
            assert args[0].device.type == "cpu"
            return np.zeros(tuple(args[0].shape), str(args[0].dtype).removeprefix("torch."))
        if func is Tensor.pin_memory:
            return args[0]
        if func is F.scaled_dot_product_attention:
            names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
            return self.attention(**(dict(zip(names, args, strict=False)) | kwargs))
        return func(*args, **kwargs)

    def attention(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=None):
        aten = torch.ops.aten
        if query.device.type == "cpu":
            return F.scaled_dot_product_attention(query, key, value, attn_mask, scale=scale)
        choice = self.kernel
        if attn_mask is not None or query.shape[-1] > 256 or query.dtype == torch.float32:
            choice = SDPBackend.EFFICIENT_ATTENTION
        if choice == SDPBackend.FLASH_ATTENTION:
            return aten._scaled_dot_product_flash_attention(query, key, value, 0.0, False, False, scale=scale)[0]
        if choice == SDPBackend.CUDNN_ATTENTION:
            return aten._scaled_dot_product_cudnn_attention(
                query, key, value, None, False, 0.0, False, False, scale=scale
            )[0]
        bias = None if attn_mask is None else attn_mask.expand(*query.shape[:3], key.shape[2])
        return aten._scaled_dot_product_efficient_attention(query, key, value, bias, False, scale=scale)[0]


def _model(checkpoint, component, cls, dtype):
    """The network of a configuration in the precision that it loads in, without weights."""
    config, before = checkpoint._json(f"{component}/config.json"), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    foreign = cls.__module__.startswith("transformers.")
    try:
        network = cls(cls.config_class(**config)) if foreign else _plain(cls, config)
    finally:
        torch.set_default_dtype(before)
    halves = (torch.float16,) if foreign else (torch.float16, torch.bfloat16)
    kept = set(cls._keep_in_fp32_modules or ()) if dtype in halves else set()
    single = {id(weight) for name, weight in network.named_parameters() if not kept.isdisjoint(name.split("."))}
    _apply(network, lambda each: each.float() if id(each) in single else each)
    return network.eval().requires_grad_(False)


def _able(kernel, mask):
    """The kernel that PyTorch takes: flash attention knows no masks."""
    return kernel if mask is None else SDPBackend.EFFICIENT_ATTENTION


def _tensor(checkpoint, component, name):
    """A number for each channel of the latent, which is all that is read of an autoencoder's own weights."""
    return torch.ones(checkpoint._json(f"{component}/config.json")["latent_channels"])


def _parameters(checkpoint, component):
    return sum(each.numel() for each in network(RELEASES[checkpoint.name].parts[component]).parameters())


def _plain(cls, config):
    with quiet():
        return cls.from_config(config)


class _Stream:
    """A stream on which everything is done at once."""

    def synchronize(self): ...


def _moved(group, device):
    """Where diffusers puts a group of blocks, for fake tensors, whose content cannot be set to another device's."""

    def moved(each):
        return each.to(device, non_blocking=group.stream is not None)

    for module in group.modules:
        _apply(module, moved)
    if group.parameters or group.buffers:
        _apply(group.offload_leader, moved, recurse=False)


def _apply(module, fn, recurse=True):
    """As PyTorch's, for fake tensors, which it cannot swap; what is tied stays tied."""
    moved = {}
    for each in module.modules() if recurse else [module]:
        for key, weight in each._parameters.items():
            if weight is not None:
                new = moved.get(id(weight)) or (weight, torch.nn.Parameter(fn(weight), weight.requires_grad))
                moved[id(weight)] = new
                each._parameters[key] = new[1]
        for key, buffer in each._buffers.items():
            each._buffers[key] = buffer if buffer is None else fn(buffer)
    return module


SHARE = 0.2
"""The share of the tokens that a region holds: how many there are is content, which fake tensors have not."""


def chosen(region, patch):
    """As `lanes.chosen`, of the first `SHARE` of the tokens; the host's one wait for their number is not made."""
    count = region.numel() // (patch[0] * patch[1] * patch[2])
    return region, torch.arange(int(SHARE * count), device=region.device)


@contextmanager
def fake_gpu(kernel=SDPBackend.FLASH_ATTENTION, capability=(9, 0), gib=80):
    """Fake tensors inside, and a card of so many GiB among their devices, as torch.cuda tells it."""
    card = Card()

    with ExitStack() as stack:
        for target, name, value in [
            (torch.cuda, "max_memory_allocated", lambda device=None: card.peak),
            (torch.cuda, "reset_peak_memory_stats", lambda device=None: setattr(card, "peak", card.live)),
            (torch.cuda, "get_device_name", lambda device=None: "a card"),
            (torch.cuda, "mem_get_info", lambda device=None: (gib * 2**30 - card.live, gib * 2**30)),
            (torch.cuda, "memory_reserved", lambda device=None: card.live),
            (torch.cuda, "memory_allocated", lambda device=None: card.live),
            (torch.cuda, "synchronize", lambda device=None: None),
            (torch.cuda, "get_device_capability", lambda device=None: capability),
            (torch.cuda, "Stream", _Stream),
            (torch.cuda, "empty_cache", lambda: None),
            (ModuleGroup, "onload_", lambda group: _moved(group, group.onload_device)),
            (ModuleGroup, "offload_", lambda group: _moved(group, group.offload_device)),
            (torch, "_fused_sdp_choice", lambda q, k, v, mask, *a, **o: _able(kernel, mask).value),
            (Checkpoint, "model", _model),
            (Checkpoint, "tensor", _tensor),
            (torch.nn.Module, "_apply", _apply),
            (Checkpoint, "parameters", _parameters),
            (Checkpoint, "dtype", lambda self, part: RELEASES[self.name].parts[part].dtype),
            (Checkpoint, "tokenizer", lambda self, folder, cls: TOKENIZERS[cls.__name__]()),
            (attention, "HONEST", {}),
            (adapter, "chosen", chosen),
            (steer, "CHECK_SECONDS", float("inf")),
        ]:
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(card)
        stack.enter_context(Calls(kernel))
        stack.enter_context(torch.no_grad())
        yield card


def released(folder, name, *, rows=0, layers=None, offload="parts", weights="saved", ladder=(), changed=None):
    """The adapter of a released checkpoint on the card, in the precision that it is released in.

    Its transformer and text encoder are cut to so many `layers`, if told so; `changed` parts stand for its own.
    """
    parts = {**RELEASES[name].parts, **(changed or {})}
    if layers is not None:
        parts = {part: own if part == "vae" else _cut(own, layers) for part, own in parts.items()}
    save_words(folder, replace(RELEASES[name], parts=parts))
    checkpoint = Checkpoint(folder, name)
    family = families.family_of(checkpoint)
    dtype = family.dtype or checkpoint.dtype("transformer")
    return family.open(
        checkpoint, CUDA, dtype, rows=rows, tiling=True, cache=None, offload=offload, weights=weights, ladder=ladder
    )


COUNTS = {"num_layers": 1, "num_single_layers": 1, "num_hidden_layers": 3}
"""What configurations call the numbers of their blocks, all of a kind alike, and the fewest: CLIP and Llama are read
at an earlier state than the last."""


def _cut(part, layers):
    return replace(
        part, config={**part.config, **{key: max(layers, least) for key, least in COUNTS.items() if key in part.config}}
    )


def native(backbone, frames=None):
    """The geometry of the clips that it was trained on."""
    height, width = (side * backbone.architecture.scale for side in backbone.spec.latent_size)
    return backbone.geometry(frames or backbone.spec.trained_frames, (height, width))


PROMPTS = {"source": "a red fox and a car run", "target": "a panda and an apple run"}
WORDS = {"source_words": "fox", "target_words": "panda"}
BOTH = {"source_words": "fox, car", "target_words": "panda, apple"}
DEFAULT = {"mode": "inversion_free"}
UNGUIDED = {"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}
WAYS = {
    "draws": {**DEFAULT, "draws": 3, "averaging": "differential"},
    "flowdirector_v1": {"mode": "flowdirector_v1"},
    "flowdirector_v2": {"mode": "flowdirector_v2"},
    "flowalign": {"mode": "flowalign"},
    "inversion": {"mode": "inversion", "mode.solver": "heun", "mode.reconstruction": True},
    "random_noise": {"mode": "random_noise", "mode.solver": "midpoint"},
    "maps": {
        **DEFAULT,
        "mask.normalise": "text",
        "mask.threshold": "otsu",
        "mask.blocks": [0.2, 0.6],
        "mask.preserve": True,
        "mask.smooth_steps": 0.5,
        "mask.smooth_frames": 1.0,
        "mask.grow": 0.05,
    },
    "objects": {**DEFAULT, **BOTH, "object_guidance_scales": [5.0, 7.0]},
    "user mask": {**DEFAULT, "mask.user": "join", "user_mask": "m.mp4", "mask.threshold": "quantile"},
    "kept": {**DEFAULT, "target": "a panda and a car run", "source_words": "fox, car", "target_words": "panda, car"},
    "region": {**DEFAULT, "mode.region": True, "mode.region_refresh": 3, "draws": 2, "mode.decoupling": 0.1},
    "region of a user": {**DEFAULT, "mode.region": True, "user_mask": "m.mp4"},
    "no mask": {**DEFAULT, "mask": "none", "target_guidance_scale": 1.0},
}
"""Ways to edit, each by the settings that make it: every mode, and what a mask, draws and objects add."""


class Steps:
    """A monitor that notes what the host waited for between the steps of an edit."""

    def __init__(self, card):
        self._card, self._before = card, None
        self.waits = []

    def phase(self, name, total):
        self._before = Counter(self._card.copies) if name == "edit" else None

    def advance(self, count=1):
        if self._before is not None:
            now = Counter(self._card.copies)
            self.waits.append(now - self._before)
            self._before = now

    def notice(self, text): ...


def edit(card, backbone, geometry, options, steps=2):
    """One edit of an encoded clip on the card, by the product's own road: its latent, what steps waited for, memory."""
    options = options if backbone.spec.guidance != "none" else {**options, **UNGUIDED}
    settings = compose.compose({"steps": steps, "strength": 1.0, **PROMPTS, **WORDS, **options})
    places = tuple(plan.windows_of(settings, backbone.spec, geometry.latent[1]))
    monitor = Steps(card)
    session = record.Session(backbone.device, monitor)
    user = torch.ones(1, 1, *geometry.latent[1:]) if settings.user_mask else None
    # The model's own times are fake, too; one that predicts noise begins below 1.
    grid, own = tuple(0.9 * (1.0 - i / steps) for i in range(steps + 1)), plan.own_latents(backbone.spec, geometry)
    x = torch.zeros(1, *geometry.latent)
    done = steer.steer(plan.told(plan.brief(settings), backbone.spec), backbone, x, grid, places, own, session, user)
    return done, monitor.waits, session.meter.phases
