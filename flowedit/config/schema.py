"""What an edit can be told: its options as one frozen dataclass, with those of each room."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from flowedit.backbones.options import BackboneOptions, RuntimeOptions
from flowedit.backbones.weights import asked
from flowedit.config.options import check_ranges
from flowedit.config.quality import QualityOptions
from flowedit.declare import option
from flowedit.masks.marks import Mark, marks
from flowedit.masks.options import MaskOptions
from flowedit.media.formats.forms import BitDepth, Codec, FileOptions, Format
from flowedit.media.rates import frame_rate
from flowedit.messages import InputError
from flowedit.networks.control.options import AttentionOptions

if TYPE_CHECKING:
    from flowedit.editors.averaging import AveragingOptions
    from flowedit.editors.spec import ModeOptions

_LATE = {"AveragingOptions": "flowedit.editors.averaging", "ModeOptions": "flowedit.editors.spec"}
"""Options that stand beside the editors, all of which `flowedit --help` does without."""


def __getattr__(name: str) -> type[ModeOptions] | type[AveragingOptions]:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    cls: type[ModeOptions] | type[AveragingOptions] = getattr(import_module(_LATE[name]), name)
    return cls


def _ascending(cuts: Any) -> bool:
    return isinstance(cuts, str) or list(cuts) == sorted({i for i in cuts if i > 0})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One edit, whole; the names are those of the configuration and of the command line's flags."""

    clip: str | None = option(
        "the clip to edit, or a YAML file that describes an edit",
        typed="FILE",
        written="text",
        role="clip",
        flag=False,
        data=False,
    )
    source: str | None = option("what the clip shows", written="prompt", role="clip")
    target: str | None = option("what it should show", written="prompt", role="clip")
    target_parts: tuple[str, ...] | None = option(
        "the target part by part, for modes that go so: a prompt for each change, alone or with those before it",
        typed='"A" "B"',
        written="prompts",
        role="clip",
    )
    instruction: str | None = option(
        "what to change, in plain English, in place of target and words; may follow the clip",
        written="prompt",
        role="clip",
    )
    caption: str | None = option(
        "a vision-language model that says what the clip shows, for an instruction without a source",
        typed="NAME|DIR",
        written="text",
        data=False,
        needs="instruction",
    )
    source_words: str = option(
        "the object's words in the source prompt; commas between several objects",
        typed="WORDS",
        written="prompt",
        role="clip",
    )
    also_words: str = option(
        "words of the source prompt for what goes along with the object, such as its shadow and reflection: where they "
        "are seen joins its mask; commas between several",
        typed="WORDS",
        written="prompt",
        role="clip",
        needs="source_maps",
    )
    target_words: str = option(
        "the new object's words in the target prompt; of several, in the same order",
        typed="WORDS",
        written="prompt",
        role="clip",
    )
    negative_prompt: str = option(
        "what guidance steers away from, on both sides",
        written="prompt",
        generate=True,
        bench=True,
        needs="guided",
    )
    target_negative_prompt: str | None = option(
        "what the target's guidance steers away from, in place of negative_prompt",
        typed="TEXT",
        written="prompt",
        bench=True,
        needs="guided_target and prompt_negative",
    )
    mode: ModeOptions = option("an editor or a preset of one: flowedit list editors", typed="NAME", choices="mode")
    backbone: BackboneOptions = option(
        "the model: flowedit list backbones, or a checkpoint folder",
        typed="NAME|DIR",
        choices="backbone",
        generate=True,
        bench=True,
        data=False,
    )
    lora: tuple[str, ...] | None = option(
        "low-rank changes of the model's weights, and how much of them is added (1 without a number); several in a "
        "row; of a model with two networks @transformer or @transformer_2 at the end says into which",
        typed="FILE[:WEIGHT]",
        written="files",
        several=True,
        generate=True,
        data=False,
    )
    quality: QualityOptions = option(
        "how many of the mode's steps are run; auto is what is measured to be enough, else best",
        typed="{auto,draft,fast,balanced,best}",
        choices="quality",
        generate=True,
        bench=True,
    )
    task: str = option(
        "what kind of edit it is; auto tells it from the prompts and words",
        typed="{auto,replace,recolour,remove,add}",
        choices="task",
        default="replace",
    )
    mask: MaskOptions = option(
        "where a mask comes from", typed="{attention,difference,both,none}", choices="mask", bench=True
    )
    averaging: AveragingOptions = option(
        "how a step's draws become one flow",
        typed="{mean,differential,differential_first}",
        choices="averaging",
        bench=True,
    )
    attention: AttentionOptions = option(
        "what the target takes of the source's attention, or how it looks at its words",
        typed="NAME",
        choices="attention",
        bench=True,
    )
    steps: int = option(
        "intervals of the whole grid of times",
        least=1,
        most=1000,
        generate=True,
        bench=True,
        needs="grid_by_steps",
    )
    strength: float = option(
        "share of the grid that is run: 0 is the clip itself, 1 starts at pure noise; flowedit edit takes several",
        least=0,
        most=1,
        expected="between 0 (the clip itself) and 1 (from pure noise)",
        bench=True,
    )
    edit_strength: float | None = option(
        "how hard the edit pulls away from the source prompt: 0 not at all, 1 as far as the target's guidance scale "
        "says, 5 at most; unset (null): plain guidance, away from the negative prompt",
        least=0,
        most=5,
        bench=True,
        needs="source_velocity",
    )
    source_guidance_scale: float = option(
        "classifier-free guidance of the source velocity", least=0, most=100, bench=True, needs="guided_source"
    )
    target_guidance_scale: float = option(
        "classifier-free guidance of the target velocity",
        least=0,
        most=100,
        generate=True,
        bench=True,
        needs="common_scale",
    )
    guidance_rule: Literal["plain", "zero_star", "rectified"] = option(
        "how a guidance scale acts: plain | zero_star (CFG Zero*) | rectified (Rectified CFG++)",
        generate=True,
        bench=True,
        needs="guided_side",
    )
    guidance_interval: tuple[float, ...] = option(
        "from which time to which the guidance scales act, of 0 (the clip) to 1 (noise); outside them the scale is 1, "
        "at half the cost",
        typed="A,B",
        least=0,
        most=1,
        check=lambda ends: len(ends) == 2 and ends[0] < ends[1],
        expected="two times from 0 (the clip) to 1 (noise), the first below the second, such as 0.3,0.9",
        generate=True,
        bench=True,
        needs="guided_side and own_negative",
    )
    object_guidance_scales: tuple[float, ...] | None = option(
        "of several objects: a target scale for each that is edited, in their order",
        least=0,
        most=100,
        needs="several_objects_scaled",
    )
    draws: int = option("noises averaged a step", least=1, bench=True, needs="fresh_noise")
    seed: int = option("random seed; flowedit edit takes several, such as 1,2,3", least=0, generate=True, needs="noise")
    user_mask: str | None = option(
        "video, image or folder of frames; white is edited", typed="FILE|DIR", written="text", role="clip"
    )
    box: str | None = option(
        "a box around what is edited, followed through the clip, in pixels of the clip as shown; give it several times "
        "for several",
        typed="X,Y,W,H[@FRAME]",
        written="text",
        role="clip",
        several=True,
    )
    point: str | None = option(
        "a point on what is edited, in pixels: it grows to what moves with it and looks like it, and is followed too",
        typed="X,Y[@FRAME]",
        written="text",
        role="clip",
        several=True,
    )
    composite: bool | Literal["auto"] = option(
        "blend the edit into the original pixels through the mask; auto is on with a mask", typed="{auto,true,false}"
    )
    upscale: str | None = option(
        "what makes an edit larger where its working size is below the clip's: a name of flowedit list upscalers, or a "
        ".safetensors file of one; without it a plain cubic",
        typed="NAME|FILE",
        written="text",
        data=False,
    )
    size: str | None = option(
        "working size; without it the one that the backbone was trained at, or its area at the clip's aspect",
        typed="WIDTHxHEIGHT",
        written="text",
        generate=True,
    )
    frames: int | None = option("frames to read; without it to the end", least=1, generate=True)
    start: int = option("first frame to read, counted in the file", least=0)
    fps: str | float | None = option(
        "a lower rate to read and write at, or that of a folder of frames; without it the clip's own",
        typed="RATE",
        generate=True,
    )
    cuts: tuple[int, ...] | Literal["auto", "none"] = option(
        "where shots begin: auto finds hard cuts, each shot is edited by itself | none | frame numbers, 120,200",
        typed="{auto,none}|N,N",
        check=_ascending,
        expected="auto, none or ascending frame numbers from 1 up",
    )
    frame_by_frame: bool = option(
        "edit each frame by itself, all from the same noise: what a model of single pictures makes of a video; it "
        "flickers",
        needs="several_frames",
    )
    fit: Literal["auto", "crop", "pad"] = option(
        "how another aspect meets the working size: auto crops, but pads a portrait clip in a landscape frame",
        typed="{auto,crop,pad}",
    )
    window: int | Literal["auto", "whole"] = option(
        "frames that the network sees at once: auto (what it was trained on) | whole | a number",
        least=1,
        typed="{auto,whole}|N",
        generate=True,
    )
    window_overlap: float = option(
        "share of a window, at least, that neighbouring windows have in common",
        least=0,
        below=1,
        generate=True,
        needs="several_windows",
    )
    format: Format = option(
        "what the edit is written as: auto (as the clip is: mp4, and a still PNG), or a name of flowedit list formats; "
        "compare.mp4 and mask.mp4 stay mp4"
    )
    codec: Codec = option(
        "of a video: auto (the usual one of flowedit list formats) | h264 | h265 | av1",
    )
    crf: int | None = option(
        "quality of a video: 0 is the best, 51 the worst of h264 and h265, 63 of av1 and vp9; without it 16, and 12 of "
        "av1",
        least=0,
        most=63,
    )
    bit_depth: BitDepth = option("bits a component of a video: auto (as many as the clip has) | 8 | 10")
    out: str | None = option(
        "folder of the results; without it outputs/<clip>/<time>",
        typed="DIR",
        written="text",
        role="place",
        generate=True,
        data=False,
    )
    save: str | None = option(
        "what is kept of each step, in edit_steps/: steps (states, velocities, masks) | maps (attention) | sheet (a "
        "contact sheet of the clean clip)",
        typed="steps,maps,sheet",
        written="text",
        role="place",
        data=False,
    )
    log: str | None = option(
        "other programs' logs of the steps, in edit_logs/: tensorboard | wandb (offline) | wandb_online (sent)",
        typed="tensorboard,wandb",
        written="text",
        role="place",
        data=False,
    )
    runtime: RuntimeOptions = option(
        "where and how the networks run: auto (the fastest that fits), or a preset for a size of GPU memory",
        typed="NAME",
        choices="runtime",
        generate=True,
        bench=True,
        data=False,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        self.rate, self.frame_size, self.marks, self.loras  # noqa: B018  (they raise on what they cannot read)

    @property
    def loras(self) -> tuple[asked.Lora, ...]:
        """The files of low-rank changes, with their weights."""
        return tuple(asked.lora(text) for text in self.lora or ())

    @property
    def loaded(self) -> tuple[BackboneOptions, RuntimeOptions, tuple[asked.Lora, ...]]:
        """What decides which networks are in memory: edits that agree in it share them."""
        return self.backbone, self.runtime, self.loras

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Boxes and points."""
        return marks(self.box, self.point)

    @property
    def marked(self) -> bool:
        """Whether a user's mask says where: a file, boxes or points."""
        return self.user_mask is not None or bool(self.marks)

    @property
    def file(self) -> FileOptions:
        """What is asked of the edit's file."""
        return FileOptions(self.format, self.codec, self.crf, self.bit_depth)

    @property
    def rate(self) -> Fraction | None:
        """`fps` as an exact number; None for the source's own."""
        return None if self.fps is None else frame_rate(self.fps)

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """`size` WIDTHxHEIGHT as (height, width); None for the backbone's own area."""
        if self.size is None:
            return None
        width, _, height = self.size.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= 8192 and 0 < int(height) <= 8192):
            raise InputError(f"size {self.size!r} is not WIDTHxHEIGHT in pixels, such as 512x288")
        return int(height), int(width)
