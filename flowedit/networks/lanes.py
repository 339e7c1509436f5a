"""Lanes: one whole row of a transformer and others of a region's tokens, packed into one sequence of its own blocks.

What works token by token (norms, projections, the feed-forward) takes the packed sequence as it is; attention is cut
into lanes. So a block runs once, its own forward does the work, and no block's keys and values outlive it.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import reduce, repeat
from torch import Tensor
from torch.overrides import TorchFunctionMode

from flowedit.networks.control.controller import Module
from flowedit.networks.recorder import Glance, masked_inputs, native

HIDDEN, TEXT, TIME = "hidden_states", "encoder_hidden_states", "temb"
"""What the blocks of diffusers' video transformers call the video's tokens, the text's, and the time's embedding."""


@dataclass(frozen=True)
class Blocks:
    """How the blocks of a family take a sequence: (B, tokens, width), video and text apart, the same time in all rows.

    A block's output is the video, or (video, text) where both attend together.
    """

    of: Callable[[Any], Sequence[torch.nn.Module]]
    """The network's blocks, in order."""
    rotary: str
    """The argument that holds the rotary table, a tuple of tensors, or None at a run without one."""
    axis: int
    """The axis of that table that counts the video's tokens."""
    attention: Callable[[Any], torch.nn.Module]
    """A block's attention whose keys are the video's (and the text's, where both attend together)."""
    text_attention: Callable[[Any], torch.nn.Module] | None = None
    """A block's attention to the text alone; None where text and video attend together."""
    mask: str | None = None
    """The argument that holds the mask of that text's keys, (B, 1, L); None where all are seen."""
    packs: bool = True
    """Whether rows can share a sequence: not where a prompt's own vector is in what scales and shifts its tokens, nor
    where text follows the video.
    """

    def modules(self, network: Any, text: int) -> list[Module]:
        """The attention modules that a control may take over.

        `text` text tokens stand in front of the video's, or, below 0, behind them.
        """
        found = []
        for i, block in enumerate(self.of(network)):
            found.append(Module(i, self.attention(block), True, self.text_attention is None, text))
            if self.text_attention is not None:
                found.append(Module(i, self.text_attention(block), False, True, 0))
        return found


def chosen(region: Tensor, patch: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """The tokens of `patch` (frames, height, width) sites that hold a site of the region.

    region bool (1, 1, F, H, W) to their sites, alike, and their indices, int64 (n,) in the network's order, ascending.
    The host waits for their number.
    """
    f, h, w = patch
    held = reduce(region.float(), "b c (f i) (h j) (w k) -> b c f h w", "max", i=f, j=h, k=w) > 0
    sites = repeat(held, "b c f h w -> b c (f i) (h j) (w k)", i=f, j=h, k=w)
    return sites, held.flatten().nonzero()[:, 0]


@contextmanager
def lanes(
    network: Any,
    blocks: Blocks,
    count: int,
    tokens: Tensor,
    readings: Sequence[Glance | None],
    watched: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Inside, the network's batch of `count` B rows is B packed rows of `count` lanes.

    Lane 0, the first B rows, is whole. Each of the others sends its text and the video `tokens` (n,) int64, ascending,
    on the network's device; there it attends to its own text and to lane 0's video, in which those tokens are its own.
    The network's output has `count` B rows again; of the others it means something at `tokens` alone. `readings`: of
    each lane what is read of its attention where `watched()`. Source: KV-Edit (arXiv 2502.17363), its inversion-free
    form, both sides block by block.
    """
    made = blocks.of(network)
    packing = _Packing(blocks, count, tokens, made[0], made[-1])
    attention = [blocks.attention(block) for block in made]
    text = [] if blocks.text_attention is None else [blocks.text_attention(block) for block in made]
    cut = _Cut(packing, readings, watched)
    hooks = [block.register_forward_pre_hook(packing.enter, with_kwargs=True) for block in made]
    hooks += [made[-1].register_forward_hook(packing.leave)]
    hooks += [module.register_forward_pre_hook(cut.to_text) for module in text]
    hooks += [module.register_forward_hook(cut.to_video, always_call=True) for module in text]
    try:
        with native([*attention, *text]), cut:
            yield
    finally:
        for hook in hooks:
            hook.remove()


@lru_cache
def _names(block: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(block.forward).parameters)[1:]


class _Packing:
    """Packs what goes into the blocks, and unpacks what comes out of the last."""

    def __init__(self, blocks: Blocks, count: int, tokens: Tensor, first: torch.nn.Module, last: torch.nn.Module):
        self._blocks, self.count, self.tokens, self._first = blocks, count, tokens, first
        self.joint = blocks.text_attention is None
        self.video = self.text = 0
        self._made: dict[str, tuple[Any, Any]] = {}

    def enter(self, block: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        kind: Any = type(block)
        named = dict(zip(_names(kind), args, strict=False)) | kwargs
        if block is self._first:
            self._made.clear()
            self.video, self.text = named[HIDDEN].shape[1], named[TEXT].shape[1]
            named[HIDDEN] = self.sequence(named[HIDDEN])
        if block is self._first or not self.joint:
            named[TEXT] = self._once(TEXT, named[TEXT], self._side_by_side)
        named[TIME] = named[TIME][: len(named[TIME]) // self.count]
        if self._blocks.mask is not None:
            named[self._blocks.mask] = self._once(self._blocks.mask, named[self._blocks.mask], self._in_line)
        if named.get(self._blocks.rotary) is not None:
            named[self._blocks.rotary] = self._once(self._blocks.rotary, named[self._blocks.rotary], self._places)
        return (), named

    def leave(self, block: torch.nn.Module, args: Any, output: Any) -> Any:
        self._made.clear()
        if isinstance(output, tuple):
            hidden, text, *rest = output
            return (self.rows(hidden), torch.cat(text.chunk(self.count, dim=1)), *rest)
        return self.rows(output)

    def sequence(self, hidden: Tensor) -> Tensor:
        """(count B, N, D) to (B, N + (count - 1) n, D)."""
        whole, *others = hidden.chunk(self.count)
        return torch.cat([whole, *(other.index_select(1, self.tokens) for other in others)], dim=1)

    def rows(self, hidden: Tensor) -> Tensor:
        """The way back, (count B, N, D), zeros where a lane sent nothing."""
        whole, *others = hidden.split([self.video, *[len(self.tokens)] * (self.count - 1)], dim=1)
        return torch.cat([whole, *(torch.zeros_like(whole).index_copy_(1, self.tokens, other) for other in others)])

    def _side_by_side(self, text: Tensor) -> Tensor:
        return torch.cat(text.chunk(self.count), dim=1)

    def _in_line(self, mask: Tensor) -> Tensor:
        """(count B, 1, L) to (B, 1, count L), as the texts lie."""
        return torch.cat(mask.chunk(self.count), dim=-1)

    def _places(self, table: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        axis = self._blocks.axis
        rows = table if axis == 0 else [each[: max(1, len(each) // self.count)] for each in table]  # alike in all
        return tuple(
            torch.cat([each, *[each.index_select(axis, self.tokens)] * (self.count - 1)], dim=axis) for each in rows
        )

    def _once(self, name: str, value: Any, make: Callable[[Any], Any]) -> Any:
        """What was made of the same value for the block before."""
        known = self._made.get(name)
        if known is None or known[0] is not value:
            self._made[name] = known = value, make(value)
        return known[1]


class _Cut(TorchFunctionMode):
    """Cuts a packed attention into that of each lane."""

    def __init__(self, packing: _Packing, readings: Sequence[Glance | None], watched: Callable[[], bool]) -> None:
        super().__init__()
        self._packing, self._readings, self._watched = packing, readings, watched
        self._text_alone = False

    def to_text(self, module: Any, args: Any) -> None:
        self._text_alone = True

    def to_video(self, module: Any, args: Any, output: Any) -> None:
        self._text_alone = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v, scale, mask = masked_inputs(args, kwargs)
        return self._to_text(q, k, v, scale, mask) if self._text_alone else self._to_video(q, k, v, scale)

    def _attend(
        self, lane: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None, text: int, mask: Tensor | None = None
    ) -> Tensor:
        reading = self._readings[lane]
        if reading is None or not self._watched():
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        return reading.attend(q, k, v, scale, text, mask)

    def _to_text(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor | None) -> Tensor:
        count = self._packing.count
        keys, values = (each.chunk(count, dim=2) for each in (k, v))
        queries = q.split(self._lengths(), dim=2)
        masks = [None] * count if mask is None else mask.chunk(count, dim=-1)
        return torch.cat(
            [self._attend(i, queries[i], keys[i], values[i], scale, 0, masks[i]) for i in range(count)], dim=2
        )

    def _to_video(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        packing, text = self._packing, self._packing.text if self._packing.joint else 0
        parts = [each.split([*[text] * packing.count, *self._lengths()], dim=2) for each in (q, k, v)]
        outs = []
        for lane in range(packing.count):
            said, seen = lane, packing.count + lane
            queries = torch.cat([parts[0][said], parts[0][seen]], dim=2)
            keys, values = (torch.cat([each[said], each[packing.count]], dim=2) for each in parts[1:])
            if lane:
                keys[:, :, text:].index_copy_(2, packing.tokens, parts[1][seen])
                values[:, :, text:].index_copy_(2, packing.tokens, parts[2][seen])
            outs.append(self._attend(lane, queries, keys, values, scale, text))
        return torch.cat([*(out[:, :, :text] for out in outs), *(out[:, :, text:] for out in outs)], dim=2)

    def _lengths(self) -> list[int]:
        return [self._packing.video, *[len(self._packing.tokens)] * (self._packing.count - 1)]
