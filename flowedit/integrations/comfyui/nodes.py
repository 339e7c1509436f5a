"""The nodes: each is its inputs, its outputs, and one call of flowedit's Python API."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import yaml
from comfy_api.latest import ComfyExtension, io, ui

import flowedit
from flowedit.config import compose, folder
from flowedit.integrations.comfyui import host
from flowedit.integrations.comfyui.choices import ChosenChange, ChosenClip, ChosenModel, further, masked

CATEGORY = "flowedit"
MODEL, CLIP = io.Custom("FLOWEDIT_MODEL"), io.Custom("FLOWEDIT_CLIP")
CHANGE, LOOK = io.Custom("FLOWEDIT_CHANGE"), io.Custom("FLOWEDIT_LOOK")


@cache
def _choices(group: str) -> list[str]:
    """The names of a group of conf/, the usual one first."""
    usual = {"backbone": "pocket", "runtime": "auto", "mode": "inversion_free", "quality": "auto"}[group]
    return [usual, *(name for name in compose.options(group) if name not in (usual, "folder"))]


def _subject() -> list[Any]:
    """The inputs of every node that runs a model."""
    return [MODEL.Input("model"), CLIP.Input("clip"), CHANGE.Input("change")]


def _seed() -> Any:
    return io.Int.Input("seed", default=0, min=0, max=2**32 - 1, control_after_generate=True, tooltip="of the noise")


def _options() -> Any:
    return io.String.Input(
        "options",
        multiline=True,
        default="",
        advanced=True,
        tooltip="more options, one a line, by their names of `flowedit list options`: mask.threshold: otsu",
    )


def _mask() -> Any:
    return io.Mask.Input("mask", optional=True, tooltip="where the clip may change; without one the words say it")


class LoadBackbone(io.ComfyNode):
    """`flowedit.load`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditLoadBackbone",
            display_name="Load Backbone (flowedit)",
            category=CATEGORY,
            description="The model that edits. It is loaded when it is first needed, and kept.",
            inputs=[
                io.Combo.Input(
                    "backbone", options=_choices("backbone"), tooltip="fetched on first use; pocket is here"
                ),
                io.String.Input("checkpoint", default="", tooltip="a folder of weights, in place of a name"),
                io.Combo.Input("runtime", options=_choices("runtime"), tooltip="how much memory it may take"),
            ],
            outputs=[MODEL.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, backbone: str, checkpoint: str, runtime: str) -> io.NodeOutput:
        """The choice alone."""
        return io.NodeOutput(ChosenModel(checkpoint.strip() or backbone, runtime))


class ExampleClip(io.ComfyNode):
    """A clip that comes with flowedit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditExampleClip",
            display_name="Example Clip (flowedit)",
            category=CATEGORY,
            description="A clip that comes with flowedit, and what it shows. pocket can edit the fox and the two.",
            inputs=[io.Combo.Input("name", options=folder.example_names())],
            outputs=[io.Video.Output(display_name="video"), io.String.Output(display_name="source")],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        """The file beside the example's settings."""
        settings = folder.example(name)
        told = yaml.safe_load(settings.read_text(encoding="utf-8"))
        return io.NodeOutput(host.video_of(settings.parent / told["clip"]), told["source"])


class SourceClip(io.ComfyNode):
    """The clip of `flowedit.edit`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditSourceClip",
            display_name="Source Clip (flowedit)",
            category=CATEGORY,
            description="The video that is edited, with its sound, and which of its frames.",
            inputs=[
                io.Video.Input("video"),
                io.Int.Input("start", default=0, min=0, advanced=True, tooltip="the first frame that is edited"),
                io.Int.Input("frames", default=0, min=0, advanced=True, tooltip="how many frames; 0: all"),
                io.Float.Input("fps", default=0, min=0, step=0.01, advanced=True, tooltip="at what rate; 0: its own"),
            ],
            outputs=[CLIP.Output(display_name="clip")],
        )

    @classmethod
    def execute(cls, video: Any, start: int, frames: int, fps: float) -> io.NodeOutput:
        """The video's own file, where it has one."""
        return io.NodeOutput(ChosenClip(host.file_of(video), start, frames or None, fps or None))


class WhatToChange(io.ComfyNode):
    """The prompts and words of `flowedit.edit`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        text = io.String.Input
        return io.Schema(
            node_id="FloweditChange",
            display_name="What to Change (flowedit)",
            category=CATEGORY,
            description="What the clip shows, and an instruction, or both prompts with the words of the object.",
            inputs=[
                text("source", multiline=True, default="", tooltip="what the clip shows, the whole frame"),
                text(
                    "instruction", default="", tooltip="replace the fox with a panda; or leave it empty and say target"
                ),
                text("target", multiline=True, default="", tooltip="what the clip should show, the whole frame"),
                text("source_words", default="", tooltip="the object's words in source: they find the mask"),
                text("target_words", default="", tooltip="the object's words in target"),
                text("negative_prompt", multiline=True, default="", advanced=True, tooltip="what should not be seen"),
                text("also_words", default="", optional=True, advanced=True, tooltip="what goes along: shadow"),
            ],
            outputs=[CHANGE.Output(display_name="change")],
        )

    @classmethod
    def execute(cls, **texts: str) -> io.NodeOutput:
        """The texts as they are."""
        return io.NodeOutput(ChosenChange(**texts))


class LookAtMask(io.ComfyNode):
    """`Editor.look_at_mask`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditLookAtMask",
            display_name="Look at Mask (flowedit)",
            category=CATEGORY,
            description="Reads from the model's attention where the words are, before an edit, by a few evaluations.",
            inputs=[*_subject(), _seed(), _options()],
            outputs=[LOOK.Output(display_name="look")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model: ChosenModel, clip: ChosenClip, change: ChosenChange, seed: int, options: str
    ) -> io.NodeOutput:
        """The maps, kept."""
        host.make_room()
        with host.hosted() as stop:
            look = model.editor.look_at_mask(
                clip.path,
                monitor=host.NodeMonitor(cls.hidden.unique_id),
                cancel=stop,
                **{**clip.options, **change.options, "seed": seed, **further(options)},
            )
        return io.NodeOutput(look)


class WordsToMask(io.ComfyNode):
    """`MaskLook.at`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditWordsToMask",
            display_name="Words to Mask (flowedit)",
            category=CATEGORY,
            description="The mask of a look, narrowed and widened at once: no network runs.",
            inputs=[
                LOOK.Input("look"),
                io.Float.Input(
                    "quantile",
                    default=0,
                    min=0,
                    max=0.999,
                    step=0.005,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="the share of a frame that stays outside; 0: as the options say",
                ),
                io.Float.Input(
                    "grow",
                    default=0,
                    min=0,
                    max=1,
                    step=0.01,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="how far the mask is widened, in shorter sides; 0: as the options say",
                ),
            ],
            outputs=[io.Mask.Output(display_name="mask")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, look: flowedit.MaskLook, quantile: float, grow: float) -> io.NodeOutput:
        """The mask, and its frames on the node."""
        mask = torch.from_numpy(look.at(quantile or None, grow or None)).float() / 255
        return io.NodeOutput(mask, ui=ui.PreviewMask(mask, cls=cls))


class EditClip(io.ComfyNode):
    """`Editor.edit`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditEdit",
            display_name="Edit (flowedit)",
            category=CATEGORY,
            description="Edits the clip inside the mask. Size, length, rate and sound stay.",
            inputs=[
                *_subject(),
                _mask(),
                io.Combo.Input("mode", options=_choices("mode"), tooltip="the method, or a publication's preset of it"),
                io.Combo.Input("quality", options=_choices("quality"), tooltip="how many steps, and so how long"),
                io.Float.Input(
                    "strength", default=0, min=0, max=1, step=0.01, tooltip="from how much noise; 0: the mode's own"
                ),
                io.Float.Input(
                    "edit_strength", default=0, min=0, max=5, step=0.05, tooltip="how hard it pulls; 0: the mode's own"
                ),
                _seed(),
                io.Boolean.Input("preview", default=True, advanced=True, tooltip="show a frame after each step"),
                _options(),
            ],
            outputs=[
                io.Video.Output(display_name="video"),
                io.Mask.Output(display_name="mask", tooltip="where the clip has changed"),
                io.Video.Output(display_name="compare", tooltip="source beside edit"),
                io.String.Output(display_name="notices"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ChosenModel,
        clip: ChosenClip,
        change: ChosenChange,
        mode: str,
        quality: str,
        strength: float,
        edit_strength: float,
        seed: int,
        preview: bool,
        options: str,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """The edit's files, in ComfyUI's temporary folder until a node saves them."""
        chosen: dict[str, Any] = {"mode": mode, "quality": quality, "seed": seed}
        chosen |= {"strength": strength} if strength else {}
        chosen |= {"edit_strength": edit_strength} if edit_strength else {}
        host.make_room()
        with host.hosted() as stop:
            monitor, editor = host.NodeMonitor(cls.hidden.unique_id), model.editor
            result = editor.edit(
                clip.path,
                monitor=monitor,
                callback=(lambda step: monitor.preview(editor, step)) if preview else None,
                cancel=stop,
                out=host.fresh("edit"),
                **{**clip.options, **change.options, **chosen, **masked(mask), **further(options)},
            )
        video = host.video_of(result.video)
        return io.NodeOutput(
            video,
            host.mask_of(result.mask_plain, video),
            host.video_of(result.compare),
            "\n".join(result.notices),
        )


class CompareModes(io.ComfyNode):
    """`flowedit.compare`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Its inputs and outputs."""
        return io.Schema(
            node_id="FloweditCompare",
            display_name="Compare (flowedit)",
            category=CATEGORY,
            description="Edits the clip by several methods, scores the edits, and shows all in one grid.",
            inputs=[
                *_subject(),
                _mask(),
                io.String.Input(
                    "modes",
                    default="inversion_free, inversion, random_noise",
                    tooltip="modes or presets with commas between; all: every one",
                ),
                io.Combo.Input(
                    "evaluations",
                    options=["equal", "own"],
                    tooltip="equal cost, or as many steps as each has by default",
                ),
                _seed(),
                _options(),
            ],
            outputs=[
                io.Video.Output(display_name="grid"),
                io.String.Output(display_name="table"),
                io.String.Output(display_name="page", tooltip="the path of the page with videos and scores"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ChosenModel,
        clip: ChosenClip,
        change: ChosenChange,
        modes: str,
        evaluations: str,
        seed: int,
        options: str,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """The grid of the source and all edits, the scores, and the page."""
        chosen = {"evaluations": evaluations, "seed": seed, "modes": [name.strip() for name in modes.split(",")]}
        host.make_room()
        with host.hosted() as stop:
            results = flowedit.compare(
                clip.path,
                monitor=host.NodeMonitor(cls.hidden.unique_id),
                cancel=stop,
                out=host.fresh("compare"),
                **model.options,
                **{**clip.options, **change.options, **chosen, **masked(mask), **further(options)},
            )
        if (grid := next(results.folder.glob("grid.*"), None)) is None:
            raise flowedit.Error(f"no mode made an edit: {next(row.failure for row in results.rows if row.failure)}")
        table = (results.folder / "table.txt").read_text(encoding="utf-8")
        return io.NodeOutput(host.video_of(grid), table, str(results.page))


NODES = (LoadBackbone, ExampleClip, SourceClip, WhatToChange, LookAtMask, WordsToMask, EditClip, CompareModes)
NODE_CLASS_MAPPINGS = {node.define_schema().node_id: node for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {
    node_id: node.define_schema().display_name for node_id, node in NODE_CLASS_MAPPINGS.items()
}


class FloweditExtension(ComfyExtension):
    """The nodes, for a ComfyUI that asks for an extension in place of a mapping."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All of them."""
        return list(NODES)


async def comfy_entrypoint() -> FloweditExtension:
    """What ComfyUI calls."""
    return FloweditExtension()
