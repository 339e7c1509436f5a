"""The attention recorder: watches some attention modules while velocities are evaluated, and changes no output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.overrides import TorchFunctionMode

from flowedit.flow.means import Means
from flowedit.messages import InputError
from flowedit.networks.attention import blockwise_lse, mask_part, text_part, token_attention, video_part, with_lse
from flowedit.types import Conditioning, Depths, Tokens

NORMALISE = ("joint", "text")
INPUTS = ("query", "key", "value")
PLAIN = {"dropout_p": 0.0, "is_causal": False, "enable_gqa": False}
Unpatch = Callable[[Tensor], Tensor]
"""Attention of the video tokens (rows, K, N) to the latent grid (rows, K, F, H, W)."""
Groups = Sequence[Sequence[int]]
"""Places among the blocks that are read, group by group."""


@dataclass(frozen=True)
class Pyramid:
    """The sizes at which a UNet attends, frame by frame: maps of all are brought to one grid (frames, height, width).

    A call of `batch` rows gives its attention batch F rows, those of a frame after those of the frame before in each.
    A level below has half the sites a side, rounded up.
    """

    batch: int
    grid: tuple[int, int, int]

    def rows(self, rows: slice, count: int) -> slice:
        """The rows of an attention of `count`, of these rows of the call."""
        frames = count // self.batch
        return slice(rows.start * frames, rows.stop * frames)

    def joined(self, maps: Tensor) -> Tensor:
        """(rows F, K, h w) of any level to (rows, K, F H W), linear between sites."""
        frames, height, width = self.grid
        size = self._level(maps.shape[-1])
        whole = F.interpolate(maps.unflatten(2, size), (height, width), mode="bilinear", align_corners=False)
        return rearrange(whole, "(b f) k h w -> b k (f h w)", f=frames)

    def _level(self, sites: int) -> tuple[int, int]:
        height, width = self.grid[1:]
        while height * width > sites:
            height, width = -(-height // 2), -(-width // 2)
        return height, width


def _alone(maps: Tensor) -> Tensor:
    return maps


class Glance:
    """What one network evaluation shows of a prompt's tokens in some of its rows.

    `whole` makes the maps (rows, K, n) that this process read those of all tokens and heads. `groups`: of the blocks
    that are read, in the order in which they run, those of each group; None for one of all. `pyramid`: that of a UNet.
    """

    def __init__(
        self,
        tokens: Sequence[Tensor],
        unpadded: int,
        joint: bool,
        rows: slice,
        whole: Callable[[Tensor], Tensor] = _alone,
        groups: Groups | None = None,
        pyramid: Pyramid | None = None,
    ) -> None:
        self._tokens, self._unpadded, self._joint, self._rows, self._whole = tokens, unpadded, joint, rows, whole
        self._groups, self._pyramid = groups, pyramid
        self._blocks: list[Tensor] = []

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, mask: Tensor | None = None
    ) -> Tensor:
        """The attention's output (B, H, N, d), unchanged; reads the prompt's columns for the video's queries.

        `text` and `mask` as in `Attends`.
        """
        out, lse = with_lse(q, k, v, scale, mask)
        rows = self._rows if self._pyramid is None else self._pyramid.rows(self._rows, len(q))
        video, said = video_part(text), text_part(text)
        queries, keys, mask = q[rows, :, video], k[rows], mask_part(mask, rows, video)
        if not self._joint:
            lse = None
        elif lse is None:
            lse = blockwise_lse(queries, keys, scale, mask)
        else:
            lse = lse[rows, :, video]
        keys, mask = keys[:, :, said], mask_part(mask, keys=said)
        each = [token_attention(queries, keys, lse, tokens, self._unpadded, scale, mask) for tokens in self._tokens]
        maps = torch.stack(each, 1)
        self._blocks.append(maps if self._pyramid is None else self._pyramid.joined(maps))
        return out

    def maps(self) -> Tensor:
        """Mean over the blocks of each group, (rows, G K, N); raises InputError where no attention was seen."""
        if not self._blocks:
            raise InputError(
                "the attention of the words cannot be read: something put another attention function into the network; "
                "leave diffusers' attention processors as they are, or edit without words (mask=none)"
            )
        if self._groups is None:
            return self._whole(torch.stack(self._blocks).mean(0))
        means = [torch.stack([self._blocks[i] for i in group]).mean(0) for group in self._groups]
        return self._whole(torch.cat(means, 1))

    def in_words(self) -> dict[str, Any]:
        """What is read, in words that JSON has."""
        return {
            "tokens": [each.tolist() for each in self._tokens],
            "unpadded": self._unpadded,
            "normalise": "joint" if self._joint else "text",
            "rows": [self._rows.start, self._rows.stop],
            "groups": self._groups,
        }


class Recorder:
    """Gathers, for each watched prompt, the attention of its objects' tokens; rows of the batch (draws) stay apart.

    A velocity opens `call` around its network evaluations and `rows` around each of them, so that only
    conditional rows are read, each with its own prompt's tokens. Prompts without tokens cost nothing. `whole` makes
    the maps (rows, K, n) that this process read those of all tokens and heads; `groups` as in `Glance`.
    """

    def __init__(
        self,
        tokens: Mapping[Conditioning, Tokens],
        normalise: str,
        whole: Callable[[Tensor], Tensor] = _alone,
        *,
        groups: Groups | None = None,
    ) -> None:
        if normalise not in NORMALISE:
            raise InputError(f"mask.normalise {normalise!r} is not one of {', '.join(NORMALISE)}")
        self._tokens = {p: _objects(t, p.embedding.device) for p, t in tokens.items() if len(t)}
        self._joint, self._whole, self._groups = normalise == "joint", whole, groups
        self._means = Means()
        self._reading: Glance | None = None
        self.inside = False
        """Whether a watched module is being run."""

    @contextmanager
    def call(self, prompt: Conditioning, unpatch: Unpatch) -> Iterator[list[Tensor]]:
        """One velocity: the maps of its network evaluations are joined along the rows and added to the prompt's."""
        parts: list[Tensor] = []
        yield parts
        if not parts:
            return
        self._means.add(prompt, unpatch(torch.cat(parts)))

    def reading(self, prompt: Conditioning, rows: slice, pyramid: Pyramid | None = None) -> Glance | None:
        """A look at these rows of one evaluation for the prompt's tokens; None for a prompt without any."""
        if prompt not in self._tokens:
            return None
        return Glance(self._tokens[prompt], len(prompt.spans), self._joint, rows, self._whole, self._groups, pyramid)

    @contextmanager
    def rows(
        self, prompt: Conditioning, rows: slice, parts: list[Tensor], pyramid: Pyramid | None = None
    ) -> Iterator[None]:
        """One network evaluation, whose conditional rows are `rows`; its mean over the blocks goes to `parts`."""
        reading = self.reading(prompt, rows, pyramid)
        if reading is None:
            yield
            return
        self._reading = reading
        try:
            yield
        finally:
            self._reading = None
        parts.append(reading.maps())

    def blank(self, prompt: Conditioning, rows: int, tokens: int, parts: list[Tensor]) -> None:
        """An evaluation of `rows` in which no video token was sent: maps of zeros."""
        if prompt in self._tokens:
            count = len(self._tokens[prompt]) * len(self._groups or [()])
            parts.append(torch.zeros(rows, count, tokens, device=prompt.embedding.device))

    def take(self, prompt: Conditioning) -> Tensor | None:
        """Mean over the calls since the last take, (rows, G K, F, H, W) float32; None without a call."""
        return self._means.take(prompt)

    def in_words(self) -> dict[str, Any] | None:
        """What is read in the evaluation under way, in words that JSON has; None outside one."""
        return None if self._reading is None else self._reading.in_words()

    @property
    def active(self) -> bool:
        """Whether an evaluation with tokens to read is under way."""
        return self._reading is not None

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, mask: Tensor | None = None
    ) -> Tensor:
        """The attention's output (B, H, N, d), unchanged; reads the prompt's columns for the video's queries."""
        assert self._reading is not None
        return self._reading.attend(q, k, v, scale, text, mask)


def _objects(tokens: Tokens, device: torch.device) -> list[Tensor]:
    """The tokens of each object; those of one may come without a list around them."""
    groups = [[each] if isinstance(each, int) else list(each) for each in tokens]
    if isinstance(tokens[0], int):
        groups = [[index for group in groups for index in group]]
    return [torch.tensor(group, device=device) for group in groups]


class Attends(Protocol):
    """What takes attention over while it is `active`, as `Recorder` does."""

    inside: bool
    """Whether a watched module is being run."""

    @property
    def active(self) -> bool: ...
    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, mask: Tensor | None = None
    ) -> Tensor:
        """The output of an attention q, k, v (B, H, N, d).

        `text`: how many of the first tokens are text, or, below 0, how many of the last. `mask` as in `with_lse`.
        """


R = TypeVar("R", bound=Attends)


class _Tap(TorchFunctionMode):
    def __init__(self, recorder: Attends, text: int) -> None:
        super().__init__()
        self._recorder, self._text = recorder, text

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v, scale, mask = masked_inputs(args, kwargs)
        return self._recorder.attend(q, k, v, scale, self._text, mask)


def masked_inputs(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor, float | None, Tensor | None]:
    """q, k, v, scale and mask (of four axes) of an attention call; RuntimeError for dropout or causal order."""
    plain = all(kwargs.get(name, value) == value for name, value in PLAIN.items())
    if len(args) > len(INPUTS) or not plain:
        raise RuntimeError("the attention recorder reads no attention with dropout or causal order")
    # CogVideoX gives them by place, diffusers' dispatcher (Wan) by name.
    q, k, v = (args[i] if i < len(args) else kwargs[name] for i, name in enumerate(INPUTS))
    mask = kwargs.get("attn_mask")
    return q, k, v, kwargs.get("scale"), mask if mask is None else mask[(None,) * (4 - mask.ndim)]


def _processor(module: torch.nn.Module) -> Any:
    """The module's attention processor, where it takes a backend (Wan's does, CogVideoX's not)."""
    processor = getattr(module, "processor", None)
    return processor if hasattr(processor, "_attention_backend") else None


@contextmanager
def native(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """These attention modules take PyTorch's own attention inside the block.

    A backend of diffusers' that was set from outside (DIFFUSERS_ATTN_BACKEND, set_attention_backend) may not go
    through PyTorch's function, where attention is read and cut.
    """
    backends = [(each, each._attention_backend) for each in map(_processor, modules) if each is not None]
    for processor, _ in backends:
        processor._attention_backend = "native"
    try:
        yield
    finally:
        for processor, backend in backends:
            processor._attention_backend = backend


@contextmanager
def recording(modules: Sequence[torch.nn.Module], recorder: R, text: int) -> Iterator[R]:
    """Send every scaled-dot-product attention inside these modules through the recorder, by PyTorch's own kernels.

    `text`: how many of a sequence's first tokens are text, whose queries are not video, or, below 0, how many of its
    last. The hooks are removed whatever happens inside.
    """
    taps: list[_Tap] = []

    def enter(module: Any, args: Any) -> None:
        recorder.inside = True
        if recorder.active:
            taps.append(_Tap(recorder, text))
            taps[-1].__enter__()

    def leave(module: Any, args: Any, output: Any) -> None:
        recorder.inside = False
        if taps:
            taps.pop().__exit__(None, None, None)

    # In front: a control of the same modules, whoever came first, gets their attention before what reads it.
    hooks = [module.register_forward_pre_hook(enter, prepend=True) for module in modules]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in modules]
    try:
        with native(modules):
            yield recorder
    finally:
        for hook in hooks:
            hook.remove()


def block_groups(blocks: Depths, count: int) -> Groups | None:
    """For each of several groups the places of its blocks among `block_indices`; None for fractions without groups."""
    if not blocks or isinstance(blocks[0], (int, float)):
        return None
    read = block_indices(blocks, count)
    return [[read.index(i) for i in block_indices(group, count)] for group in blocks]  # type: ignore[arg-type]


def block_indices(blocks: Depths, count: int) -> list[int]:
    """Fractions of the depth, in [0, 1), to distinct blocks of `count`, 0-based: 0.6 of 30 blocks is block 18.

    Those of several groups are joined. Raises InputError for a fraction outside, and for none.
    """
    blocks = [b for group in blocks for b in ([group] if isinstance(group, (int, float)) else group)]
    for b in blocks:
        if not 0.0 <= b < 1.0:
            raise InputError(f"mask.blocks {b} is outside [0, 1): a block is given as a fraction of the depth")
    if not blocks:
        raise InputError("mask.blocks is empty: name at least one, as a fraction of the depth, such as 0.6")
    return sorted({int(b * count + 1e-9) for b in blocks})
