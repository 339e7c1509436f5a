"""What an editor says of itself: its options, the velocities that it needs, its passes, its cost; and all of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from flowedit.declare import Registry, option
from flowedit.editors.averaging import Average, mean
from flowedit.flow import intervals
from flowedit.messages import InputError
from flowedit.tensors import Tensor
from flowedit.types import Callback, Mask, Noise, Pair, Side, Step, Velocity


@dataclass(frozen=True, kw_only=True)
class ModeOptions:
    """What every mode has: the grid of times that is run. An editor's own options are a subclass of this."""

    name: str = option("the editor: flowedit list editors", choices="editors")
    grid: Literal["model", "uniform", "shifted", "given"] = option(
        "where the times lie: model (the knots it was trained at) | uniform | shifted | given"
    )
    shift: float = option(
        "of a shifted grid: above 1 spends more steps on noise",
        above=0,
        most=1000,
        expected="above 0, at most 1000",
        needs="mode.grid=shifted",
    )
    times: tuple[float, ...] | None = option(
        "of a given grid: its times, falling from at most 1 to 0", typed="[1,..,0]", needs="mode.grid=given"
    )
    preset: str | None = option("the publication whose numbers were taken; set by mode=PRESET", default=None)


@dataclass(frozen=True)
class EditorInputs:
    """What an editor works on, beside its own options.

    x_src (1, C, F, H, W) float32; `velocities` by side, those that the spec asks for; `grid` falls and ends at 0;
    `own` are the latent frames that hold the clip's own frames; `average` joins the flows of `draws` noises. `pair`
    gives both velocities of a step at once, where the spec's `region` asks for it. `report(name, value, text)`
    keeps a number for run.yaml and says the text. What an editor carries from step to step beside its state it writes
    to `memory` before a step's callback and reads after it: it is kept with the step, and comes back with it. `parts`
    are the target's velocity under each of `target_parts`; `keep(number, z)` keeps one of a row of results.
    `differ(t, u_src, u_tgt)`, where it is given, hears both velocities of a step at t before its mask is asked for.
    """

    x_src: Tensor
    velocities: Mapping[Side, Velocity]
    grid: Sequence[float]
    noise: Noise
    mask: Mask = None
    preserve: bool = False
    own: slice = field(default_factory=lambda: slice(None))
    draws: int = 1
    average: Average = mean
    pair: Pair | None = None
    callback: Callback = None
    report: Callable[[str, float, str], None] = lambda name, value, text: None
    memory: dict[str, Tensor] = field(default_factory=dict)
    parts: tuple[Velocity, ...] = ()
    keep: Callable[[int, Tensor], None] = lambda number, z: None
    differ: Callable[[float, Tensor, Tensor], None] | None = None


class Counts(NamedTuple):
    """What an edit's cost depends on: the grid, which falls to 0, the rows of velocities of each side, draws a step.

    `source(times)` and `target(times)` are the batch rows of one velocity at each of these times. `parts` counts
    `target_parts`.
    """

    grid: Sequence[float]
    source: Callable[[Sequence[float]], int]
    target: Callable[[Sequence[float]], int]
    draws: int = 1
    parts: int = 0

    @property
    def steps(self) -> int:
        """Intervals of the grid."""
        return len(self.grid) - 1

    @property
    def starts(self) -> Sequence[float]:
        """The times at which the steps down begin."""
        return self.grid[:-1]

    @property
    def rising(self) -> Sequence[float]:
        """The grid from 0 up."""
        return self.grid[::-1]


def one_way(options: Any, counts: Counts) -> int:
    """The cost of one Euler pass under the target prompt."""
    return counts.target(counts.starts)


def both_sides(options: Any, counts: Counts) -> int:
    """The cost of one velocity of each side for every interval of the grid."""
    return counts.source(counts.starts) + counts.target(counts.starts)


def along_the_path(options: Any, step: Step) -> Tensor:
    """The clean latent that a state on the path foresees, x = z - t u, by the last velocity of the target."""
    u = step.velocities.get("target", step.velocities.get("source"))
    return step.z if u is None else step.z - step.t_next * u


def as_it_is(options: Any, step: Step) -> Tensor:
    """The clean latent of an editor whose state is one."""
    return step.z


@dataclass(frozen=True)
class EditorSpec:
    """One editing method: what it needs, what it costs, and how it is run.

    `run(inputs, options)` gives the edited latent (1, C, F, H, W). `cost` counts batch rows through the network for one
    window; a velocity with classifier-free guidance takes two rows. The rest has a use where the editor differs from
    one pass under the target prompt.
    """

    about: str
    """One line: what it does, and its source."""
    options: type[ModeOptions]
    run: Callable[[EditorInputs, Any], Tensor]
    sides: tuple[Side, ...] = ("source", "target")
    """The prompts whose velocities it evaluates."""
    unprompted: Callable[[Any], bool] = lambda options: False
    """Whether its source velocity takes the empty prompt, and never sees the source's."""
    noise: bool = True
    """Whether it draws noise, so that a seed has an effect."""
    draws: bool = False
    """Whether a step may average several draws."""
    masked: bool = True
    """Whether it takes a mask."""
    needs_mask: bool = False
    """Whether it does nothing of its own without one."""
    parts: Literal["none", "alone", "cumulative"] = "none"
    """Whether it takes `target_parts`: the target with one change alone each, or with one change more each."""
    cost: Callable[[Any, Counts], int] = one_way
    passes: Callable[[Any], int] = lambda options: 1
    """How many times it goes through the grid; for progress."""
    evaluated: Callable[[Any, int], tuple[Side, ...]] | None = None
    """The sides that it evaluates in so many steps, where that depends on the options; `sides` if None."""
    negative: Callable[[Any], Literal["prompt", "source"]] = lambda options: "prompt"
    """What the target's guidance steers away from: the negative prompt, or the source prompt (FlowAlign)."""
    check: Callable[[Any, int], None] = lambda options, steps: None
    """Raises InputError for options that so many steps cannot carry."""
    facts: Callable[[Any, int, int], Mapping[str, tuple[bool, str]]] = lambda options, steps, draws: {}
    """Facts by name that its options `needs` have: (whether it holds in so many steps and draws, how it is called)."""
    clean: Callable[[Any, Step], Tensor] = along_the_path
    """The clean latent of the state after a step, for an edit that is stopped there."""
    recalls: Callable[[Any, int], Container[int]] | None = None
    """The steps whose states it needs again after later ones, of a grid of so many steps, counted over its passes.

    To give any of them is to say that it takes states from its callback (`flow/solvers.py: heard`), so that an edit
    that was killed goes on where it was. With None it starts again from the encoded clip."""
    rises: Callable[[Any, int], int] = lambda options, steps: 0
    """How many of its first steps lead up to noise: stopped there, it has edited nothing yet."""
    solver: Callable[[Any], str] = lambda options: getattr(options, "solver", "euler")
    """The solver of its ways, one of flow/solvers.py; of two ways that up, `uni_inv` where it looks at a step's end."""
    region: Callable[[Any], tuple[float, int] | None] = lambda options: None
    """(margin in shorter sides of the latent, steps between two whole ones) of its region pass; None without one."""
    difference: Literal["none", "heard", "told"] = "none"
    """How mask=difference knows both velocities of a step before its mask is asked for.

    heard: the step evaluates both sides at one time; told: it says them by `differ`; none: not at all."""
    instants: str | None = None
    """The option that needs the velocity at an instant, unless it is false or 0; `mode`: it always does.

    A mean over a step is none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of a plug-in: settings of the edit that its mode sets (strength, scales); ours stand in conf/mode."""


EDITORS: Registry[EditorSpec] = Registry("flowedit.editors", "mode", package="flowedit.editors", entry=EditorSpec)


def check_whole_steps(backbone: str, options: ModeOptions, steps: int) -> None:
    """Raise InputError for options of a mode that mean velocities over steps make worse, with those that they do not.

    That is one that needs the velocity at an instant, or a solver that looks elsewhere than at the ends of steps.
    """
    editor = EDITORS[options.name]
    if editor.instants == "mode":
        able = ", ".join(name for name, each in EDITORS.items() if each.instants != "mode")
        chosen, instead = f"mode={options.name}", f"choose one of the modes {able}"
    else:
        value = getattr(options, editor.instants or "", None)
        chosen = f"mode.{editor.instants}={str(value).lower()}"
        instead = f"set mode.{editor.instants}={'false' if isinstance(value, bool) else 0}"
    if editor.instants is not None and getattr(options, editor.instants, True):
        raise InputError(
            f"{backbone} knows mean velocities of whole steps, and {chosen} needs those of an instant: {instead}"
        )
    intervals.check_solver(backbone, editor.solver(options), editor.rises(options, steps) > 0)
