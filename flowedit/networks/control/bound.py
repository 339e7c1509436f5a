"""Options of attention to the control of one edit."""

from collections.abc import Callable, Sequence

from torch import Tensor

from flowedit.networks.control.options import AttentionOptions, rounded
from flowedit.types import Conditioning, Control, Share


def remembers(control: Control | None) -> bool:
    """Whether a step under it depends on what steps before it left in it."""
    if control is None:
        return False
    shares = control.queries, control.keys, control.values
    takes = any(max(each.inside, each.outside) > 0 for each in shares)
    return takes and (control.path or control.adapt > 0)


def bound(
    options: AttentionOptions,
    source: Conditioning | None,
    target: Conditioning,
    grid: Sequence[float],
    *,
    path: bool,
    words: Sequence[Sequence[int]] = (),
    edited: Sequence[bool] = (),
    mask: Callable[[], Tensor | None] = lambda: None,
    regions: Callable[[], Tensor | None] = lambda: None,
) -> Control | None:
    """The control that the options ask for on this grid; None for none.

    Shares of steps are rounded to the nearest step, halves up. The rest is as in `Control`.
    """
    if not options.active:
        return None

    def share(value: float, inside: float, steps: Sequence[float]) -> Share:
        return Share(value * inside, value, rounded(steps, len(grid) - 1), options.fade)

    return Control(
        source=source,
        target=target,
        grid=grid,
        queries=share(options.queries, options.keys_inside, options.keys_steps),
        keys=share(options.keys, options.keys_inside, options.keys_steps),
        values=share(options.values, options.values_inside, options.values_steps),
        blocks=(options.blocks[0], options.blocks[1]),
        adapt=options.adapt,
        anchor_words=options.anchor_words,
        anchor_sites=options.anchor_sites,
        anchor_until=options.anchor_until,
        word_weight=options.word_weight,
        apart=options.objects == "apart",
        mask=mask,
        regions=regions,
        words=words,
        edited=edited,
        path=path,
    )
