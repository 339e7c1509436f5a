"""What an edit can be told, as frozen dataclasses; the values come from conf/."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from flowedit.messages import InputError


@dataclass(frozen=True)
class BackboneSettings:
    """Which pretrained model: a hub `repository`, a local `path`, or a folder `packaged` with us.

    `download` and `memory` say what a user needs for it.
    """

    name: str | None
    repository: str | None
    download: str | None
    path: str | None
    packaged: str | None = None
    memory: str | None = None


@dataclass(frozen=True)
class ModeSettings:
    """Which editor, on which grid of times; the rest belongs to some editors only and is None for the others.

    `preset` names the published method whose numbers were taken, None for a plain mode.
    """

    name: Literal["random_noise", "inversion", "inversion_free"]
    grid: Literal["model", "uniform", "shifted", "given"]
    shift: float
    times: tuple[float, ...] | None
    solver: Literal["euler", "midpoint", "heun"] | None = None
    reconstruction: bool | None = None
    target_only_steps: int | None = None
    fixed_noise_steps: int | None = None
    target_negative: Literal["prompt", "source"] | None = None
    direction_aware: bool | None = None
    direction_alpha: float | None = None
    direction_patch: int | None = None
    decoupling: float | None = None
    decoupling_appearance: float | None = None
    preset: Literal["flowdirector_v1", "flowdirector_v2", "flowedit", "wan_edit", "flowalign"] | None = None


MODE_RANGES = (
    ("fixed_noise_steps", 0, 1000),
    ("direction_alpha", -1, 100),
    ("direction_patch", 1, 1000),
    ("decoupling", 0, 1),
    ("decoupling_appearance", 0, 1),
)
"""(name, least, most) of settings of a mode; None, where a mode has no such setting, is within."""


@dataclass(frozen=True)
class MaskSettings:
    """How a mask is made; `pool`, `grow` and `decay` are in units of the shorter side of the latent."""

    name: Literal["attention", "none"]
    blocks: tuple[float, ...]
    normalise: Literal["joint", "text"]
    threshold: Literal["mean", "quantile", "otsu"]
    quantile: float
    pool: float
    grow: float
    decay: float
    smooth_frames: float
    smooth_steps: float
    over_draws: Literal["mean", "union"]
    preserve: bool
    user: Literal["replace", "join"]
    objects: Literal["apart", "joined"]


@dataclass(frozen=True)
class GuidanceSettings:
    """How the flows of a step's draws become one."""

    name: Literal["mean", "differential"]
    baseline: Literal["first", "least_aligned"] | None = None
    baseline_size: int | None = None
    weight: float | None = None


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how the networks run; nothing here is meant to change the result, but precision and tiling do."""

    device: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    rows: int
    tiling: bool
    threads: int | None
    cache: str | None


@dataclass(frozen=True)
class Settings:
    """One edit, whole; the names are those of the configuration and of the command line's flags."""

    video: str | None
    source: str | None
    target: str | None
    instruction: str | None
    caption: str | None
    source_words: str
    target_words: str
    negative_prompt: str
    source_guidance_scale: float
    target_guidance_scale: float
    object_guidance_scales: tuple[float, ...] | None
    strength: float
    steps: int
    draws: int
    seed: int
    user_mask: str | None
    composite: bool | Literal["auto"]
    size: str | None
    frames: int | None
    start: int
    fps: str | float | None
    cuts: tuple[int, ...] | Literal["auto", "none"]
    fit: Literal["crop", "pad"]
    window: int | Literal["auto", "whole"]
    window_overlap: float
    out: str | None
    backbone: BackboneSettings
    mode: ModeSettings
    mask: MaskSettings
    guidance: GuidanceSettings
    runtime: RuntimeSettings
    task: Literal["replace", "remove", "add"] = "replace"

    def __post_init__(self) -> None:
        checks = [
            ("steps", self.steps, self.steps >= 1, "at least 1"),
            (
                "strength",
                self.strength,
                0 <= self.strength <= 1,
                "within 0 (the clip itself) and 1 (from pure noise)",
            ),
            ("draws", self.draws, self.draws >= 1, "at least 1"),
            ("seed", self.seed, self.seed >= 0, "at least 0"),
            (
                "source_guidance_scale",
                self.source_guidance_scale,
                0 <= self.source_guidance_scale <= 100,
                "0 to 100",
            ),
            (
                "target_guidance_scale",
                self.target_guidance_scale,
                0 <= self.target_guidance_scale <= 100,
                "0 to 100",
            ),
            (
                "object_guidance_scales",
                list(self.object_guidance_scales or ()),
                all(0 <= scale <= 100 for scale in self.object_guidance_scales or ()),
                "0 to 100 each",
            ),
            ("frames", self.frames, self.frames is None or self.frames >= 1, "at least 1"),
            ("window", self.window, isinstance(self.window, str) or self.window >= 1, "at least 1"),
            ("window_overlap", self.window_overlap, 0 <= self.window_overlap < 1, "at least 0 and below 1"),
            ("start", self.start, self.start >= 0, "at least 0"),
            (
                "cuts",
                self.cuts if isinstance(self.cuts, str) else list(self.cuts),
                isinstance(self.cuts, str) or list(self.cuts) == sorted({i for i in self.cuts if i > 0}),
                "auto, none or ascending frame numbers from 1 up",
            ),
            ("mode.shift", self.mode.shift, 0 < self.mode.shift <= 1000, "above 0, at most 1000"),
            *(
                (f"mode.{name}", value, value is None or least <= value <= most, f"{least} to {most}")
                for name, least, most in MODE_RANGES
                for value in [getattr(self.mode, name)]
            ),
            (
                "mask.blocks",
                list(self.mask.blocks),
                bool(self.mask.blocks) and all(0 <= place < 1 for place in self.mask.blocks),
                "one or more fractions of the depth, 0 to 1",
            ),
            (
                "guidance.weight",
                self.guidance.weight,
                self.guidance.weight is None or abs(self.guidance.weight) <= 100,
                "-100 to 100",
            ),
            ("mask.quantile", self.mask.quantile, 0 <= self.mask.quantile < 1, "at least 0 and below 1"),
            ("mask.pool", self.mask.pool, 0 <= self.mask.pool <= 1, "0 (no pooling) to 1"),
            ("mask.grow", self.mask.grow, 0 <= self.mask.grow <= 1, "0 (not at all) to 1"),
            ("mask.decay", self.mask.decay, self.mask.decay > 0, "above 0 (inf for a hard edge)"),
            ("mask.smooth_frames", self.mask.smooth_frames, 0 <= self.mask.smooth_frames <= 100, "0 to 100"),
            (
                "mask.smooth_steps",
                self.mask.smooth_steps,
                0 <= self.mask.smooth_steps < 1,
                "at least 0 and below 1",
            ),
            ("runtime.rows", self.runtime.rows, self.runtime.rows >= 0, "at least 0 (0: no limit)"),
            (
                "runtime.threads",
                self.runtime.threads,
                self.runtime.threads is None or self.runtime.threads >= 1,
                "at least 1",
            ),
        ]
        for key, value, good, expected in checks:
            if not good:
                raise InputError(f"{key} {value} is out of range: {expected}")
        self.rate, self.frame_size  # noqa: B018  (they raise on what they cannot read)

    @property
    def rate(self) -> Fraction | None:
        """`fps` as an exact number; None for the source's own."""
        if self.fps is None:
            return None
        try:
            rate = Fraction(str(self.fps))
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 0 < rate <= 1000:
            raise InputError(f"fps {self.fps} is not a frame rate: a number such as 8, 23.976 or 24000/1001")
        return rate

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """`size` WIDTHxHEIGHT as (height, width); None for the backbone's own area."""
        if self.size is None:
            return None
        width, _, height = self.size.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 8192 and 0 < int(height) <= 8192):
            raise InputError(f"size {self.size!r} is not WIDTHxHEIGHT in pixels, such as 512x288")
        return int(height), int(width)
