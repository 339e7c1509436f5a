"""Pipelines of diffusers that edit: around a loaded CogVideoX or Wan, whose parts they share."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import torch
from diffusers import (
    AutoencoderKLWan,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    WanPipeline,
    WanTransformer3DModel,
)
from diffusers.utils.outputs import BaseOutput
from torch import Tensor
from transformers import UMT5EncoderModel

from flowedit.backbones import families
from flowedit.backbones.options import BackboneOptions
from flowedit.config.defaults import memory_presets
from flowedit.integrations.diffusers.frames import OUTPUTS, frames_of, shown_as
from flowedit.integrations.diffusers.keywords import options_of
from flowedit.integrations.diffusers.listening import ProgressBar, StepHeard, check_asked, heard_by
from flowedit.messages import InputError, nearest
from flowedit.pipeline import run
from flowedit.pipeline.api import LoggingMonitor, settings_of
from flowedit.pipeline.checks import check
from flowedit.pipeline.keywords import MethodOptions, shows
from flowedit.pipeline.prompts import instruction
from flowedit.pipeline.record import Session
from flowedit.pipeline.resume import Journal
from flowedit.pipeline.source import array_clip

SHARED = ("_all_hooks", "_offload_device", "_offload_gpu_id", "hf_device_map", "_progress_bar_config")
"""What a pipeline of diffusers keeps of its offload hooks and of its bar, beside its components."""


@dataclass
class FlowEditPipelineOutput(BaseOutput):  # type: ignore[misc]
    """What an edit by a pipeline gives: `frames` as `output_type` says, the mask of its pixels, and what was said.

    `frames` is a batch of one, or for "latent" the edited latent as the pipeline lays it out. `mask` is float32
    (F, H, W) in [0, 1], or None. `run` is what run.yaml would hold.
    """

    frames: Any
    mask: Any = None
    run: Any = None


class FlowEditing:
    """What the pipelines here add to those of diffusers whose parts they have: `from_pipe`, and a call that edits."""

    _of: ClassVar[Any]
    """The class of the transformer."""
    _frames_axis: ClassVar[int] = 2
    """The axis of the frames in the pipeline's latents, which is the second or the third."""

    @classmethod
    def from_pipe(cls, pipe: Any, **parts: Any) -> Self:
        """A pipeline that edits, of the components of a loaded one: its weights, device, precision, hooks, no copies.

        `parts` are components, or settings, in place of its own. Raises InputError for a pipeline of another model, or
        one that is not text-to-video.
        """
        own = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        if strange := [name for name in parts if name not in own]:
            raise InputError(f"{cls.__name__} has no {strange[0]}{nearest(strange[0], own)}")
        found = {**pipe.config, **pipe.components, **parts}
        if not isinstance(_eager(found.get("transformer")), cls._of):
            raise InputError(
                f"a {type(pipe).__name__} holds no {cls._of.__name__}: flowedit.pipeline_for(pipe) chooses"
            )
        lost = dict.fromkeys(cls._optional_components)  # type: ignore[attr-defined]
        made = cls(**{name: {**lost, **found}[name] for name in own if name in found or name in lost})
        made.register_to_config(_name_or_path=pipe.config.get("_name_or_path"))  # type: ignore[attr-defined]
        for name in SHARED:
            if hasattr(pipe, name):
                setattr(made, name, getattr(pipe, name))
        with families.around(made):  # which refuses what it cannot run
            return made

    @shows(MethodOptions)
    def __call__(
        self,
        video: Any = None,
        prompt: str | list[str] | None = None,
        *,
        source_prompt: str | list[str] | None = None,
        mask_video: Any = None,
        mask_image: Any = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        fps: float = 8,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepHeard | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **options: Unpack[MethodOptions],
    ) -> FlowEditPipelineOutput | tuple[Any]:
        """Edit a video: `pipe(video, prompt="a panda runs", source_prompt="a fox runs", source_words="fox", ...)`.

        All options of `flowedit.edit` have their own names here too; None stands for one not given. `fps` is the rate
        of the video, for what is said of its cuts. `callback_on_step_end` may set `pipe._interrupt`, which finishes
        what is there, and give back other "latents" to go on with. Raises flowedit.Error with one clear line.
        """
        given = {
            "prompt": prompt,
            "source_prompt": source_prompt,
            "mask_video": mask_video,
            "mask_image": mask_image,
            "height": height,
            "width": width,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "generator": generator,
        }
        if output_type not in OUTPUTS:
            raise InputError(f"output_type {output_type!r} is not one of {', '.join(OUTPUTS)}")
        if video is None:
            raise InputError("no video: give its frames, such as diffusers.utils.load_video(path)")
        check_asked(callback_on_step_end_tensor_inputs)
        bar = ProgressBar(self)
        told = LoggingMonitor(bar)
        settings = settings_of({**options_of(given, options), "backbone": self._named(), "runtime.cache": None})
        settings = instruction.complete(settings, told)
        clip = array_clip(frames_of(video), fps, settings)
        check(settings, clip)
        self._interrupt, self._guidance_scale = False, settings.target_guidance_scale
        try:
            with families.around(self, memory_presets()) as backbone:
                heard = heard_by(
                    self, backbone, callback_on_step_end, callback_on_step_end_tensor_inputs, self._laid_out
                )
                session = Session(backbone.device, told, heard, None, told.notices)
                if output_type == "latent":
                    edits = run.edit_shots(run.prepare(settings, backbone, clip, session), backbone, session, Journal())
                    made = FlowEditPipelineOutput(self._laid_out(torch.cat([each.z for each in edits], 2)))
                else:
                    edited = run.edit_array(settings, backbone, clip, session)
                    made = FlowEditPipelineOutput(shown_as(edited.frames, output_type), edited.mask, edited.run)
        finally:
            bar.close()
            self._current_timestep = None
            self.maybe_free_model_hooks()  # type: ignore[attr-defined]
        return made if return_dict else (made.frames,)

    def _named(self) -> BackboneOptions:
        """The checkpoint folder that it came from, which says what the model learned, where it is one."""
        place = str(self.config.get("_name_or_path") or "")  # type: ignore[attr-defined]
        folder = place if place and Path(place).is_dir() else None
        return BackboneOptions(name=None, repository=None, download=None, path=folder)

    def _laid_out(self, z: Tensor) -> Tensor:
        """(B, C, F, H, W) as the pipeline has its latents, and back."""
        return z.transpose(2, self._frames_axis)


class CogVideoXFlowEditPipeline(FlowEditing, CogVideoXPipeline):
    """A CogVideoX of diffusers that edits a video from text; its latents are (B, F, C, H, W)."""

    _of = CogVideoXTransformer3DModel
    _frames_axis = 1


class WanFlowEditPipeline(FlowEditing, WanPipeline):
    """A Wan of diffusers that edits a video from text; its latents are (B, C, F, H, W)."""

    _of = WanTransformer3DModel

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: UMT5EncoderModel,
        vae: AutoencoderKLWan,
        scheduler: Any,
        transformer: WanTransformer3DModel | None,
        transformer_2: WanTransformer3DModel | None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool = False,
    ) -> None:
        # No default of a transformer: `DiffusionPipeline.from_pipe` hands components with one over as words.
        super().__init__(
            tokenizer, text_encoder, vae, scheduler, transformer, transformer_2, boundary_ratio, expand_timesteps
        )


def pipeline_for(pipe: Any) -> CogVideoXFlowEditPipeline | WanFlowEditPipeline:
    """A pipeline that edits around a loaded one of diffusers, whose parts it shares: `pipeline_for(pipe)(video, ...)`.

    Raises InputError for one that is no CogVideoX or Wan, and for one that is not text-to-video.
    """
    network = _eager(getattr(pipe, "transformer", None))
    for cls in (CogVideoXFlowEditPipeline, WanFlowEditPipeline):
        if isinstance(network, cls._of):
            return cls.from_pipe(pipe)
    raise InputError(
        f"a {type(pipe).__name__} is no CogVideoX or Wan of diffusers: save it with "
        "save_pretrained(DIR), and edit with --backbone DIR"
    )


def _eager(network: Any) -> Any:
    """A network that torch.compile wrapped, as it was."""
    return getattr(network, "_orig_mod", network)
