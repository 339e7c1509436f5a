"""Prompts to velocities: what a side is guided away from, by which rule, and in which steps."""

from collections.abc import Mapping, Sequence
from typing import cast

from flowedit.flow import guidance
from flowedit.flow.guidance import scales as scales_of
from flowedit.flow.intervals import on_grid
from flowedit.pipeline.plan import Brief
from flowedit.types import Backbone, Conditioning, Guided, MeanBackbone, Side, Velocity


def guide(brief: Brief, backbone: Backbone) -> dict[Side, Guided]:
    """The embedded prompts of the sides that the mode evaluates, with what guides them.

    Where the target is steered away from the source prompt, its guidance goes from it, at the target's own state
    (FlowAlign, Kim et al. 2025): u(p, src) + g [u(p, tgt) - u(p, src)], g times the edit strength if there is one. With
    scales for several objects the target's velocity has rows for each (see `Region.guided`).
    """
    settings, editor = brief.settings, brief.editor
    texts: dict[Side, str] = {
        "target": settings.target or "",
        "source": settings.source or "" if brief.reads_source else "",
    }
    sides: list[Side] = [side for side in texts if side in editor.sides]
    prompts = {side: backbone.embed(texts[side]) for side in sides}
    made: dict[Side, Guided] = {}
    for side in sides:
        scales, text = brief.scales[side], brief.negative(side)
        from_source = side == "target" and brief.from_source and text is not None
        negative = None if text is None else prompts["source"] if from_source else backbone.embed(text)
        made[side] = Guided(prompts[side], scales[0] if len(scales) == 1 else scales, negative)
    return made


def velocities_of(
    brief: Brief, backbone: Backbone, guided: Mapping[Side, Guided], grid: Sequence[float]
) -> dict[Side, Velocity]:
    """Each side's velocity on this grid, guided inside the brief's interval."""
    return {side: velocity_of(brief, backbone, each, grid) for side, each in guided.items()}


def velocity_of(brief: Brief, backbone: Backbone, guided: Guided, grid: Sequence[float]) -> Velocity:
    """One velocity on this grid, guided inside the brief's interval, at scale 1 outside."""
    velocity = _ruled(brief, backbone, guided, grid)
    if set(scales_of(guided.scale)) == {1.0} or brief.interval == guidance.WHOLE:
        return velocity
    return guidance.within(brief.interval, velocity, plain(backbone, unguided(guided), grid))


def parts_of(
    brief: Brief, backbone: Backbone, guided: Mapping[Side, Guided], grid: Sequence[float]
) -> tuple[Velocity, ...]:
    """The target's velocity under each of `target_parts`, guided as the target is."""
    prompts = [backbone.embed(part) for part in brief.parts]
    return tuple(velocity_of(brief, backbone, guided["target"]._replace(prompt=each), grid) for each in prompts)


def _ruled(brief: Brief, backbone: Backbone, guided: Guided, grid: Sequence[float]) -> Velocity:
    """The guided velocity by the rule of the settings."""
    rule = brief.settings.guidance_rule
    if rule == "plain" or guided.negative is None or backbone.spec.mean:
        return plain(backbone, guided, grid)
    both = backbone.velocity(guided.prompt, guidance.BOTH, guided.negative)
    if rule == "zero_star":
        return guidance.zero_star(both, guided.scale)
    below = guidance.below(grid, float(backbone.knots[-1]))
    return guidance.rectified(backbone.velocity(guided.prompt), both, guided.scale, below)


def plain(backbone: Backbone, guided: Guided, grid: Sequence[float]) -> Velocity:
    """The velocity by plain guidance; of a backbone that knows mean velocities, at each time of this grid its step's.

    So whoever steps along a grid takes it from here, and not from the backbone itself.
    """
    if backbone.spec.mean:
        return on_grid(cast(MeanBackbone, backbone).mean_velocity(*guided), grid)
    return backbone.velocity(*guided)


def unguided(guided: Guided) -> Guided:
    """The prompt alone, with as many rows."""
    return Guided(guided.prompt, (1.0,) * len(scales_of(guided.scale)))


def bind(
    brief: Brief, backbone: Backbone, grid: Sequence[float]
) -> tuple[dict[Side, Conditioning], dict[Side, Velocity]]:
    """The embedded prompts and the velocities of the sides that the mode evaluates, on this grid."""
    guided = guide(brief, backbone)
    return {side: each.prompt for side, each in guided.items()}, velocities_of(brief, backbone, guided, grid)
