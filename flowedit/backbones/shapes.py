"""The shapes of clips that a checkpoint takes, from its configuration alone; torch and diffusers are not needed."""

from flowedit.backbones.memory import Blueprint
from flowedit.backbones.released import Config
from flowedit.messages import InputError
from flowedit.types import BackboneSpec, Geometry

STRENGTH_SHIFT = 3.0
"""What strength means on every released model's own grid: the start of Wan's own, t = 3 s / (1 + 2 s)."""

NATIVE_15 = (96, 170)
"""Latent (height, width) of 768 x 1360, CogVideoX 1.5's own size; its files hold 300 x 300, a bound of its table."""

FPS, FPS_15 = 8, 16
"""Frames a second of the clips that CogVideoX 1.0 and 1.5 learned from; no file says so."""

NATIVE_WAN = {1536: (480, 832), 3072: (704, 1280)}
"""(height, width) that a transformer of Wan of this width was trained at (1.3B, 2.2 5B); no file says so either."""

LARGEST_WAN = (720, 1280)
"""The same for the 14B model, which knows 480p as well."""

FRAMES_WAN, FPS_WAN = 81, 16

FRAMES_WAN22, FPS_WAN22 = 121, 24
"""Of Wan 2.2 5B, which its residual autoencoder tells."""


def of_cogvideox(config: Config, vae: Config, *, any_size: bool = False) -> BackboneSpec:
    """The spec of a CogVideoX by its transformer and autoencoder; `any_size` for a small one of ours.

    Name, notices and world are the caller's.
    """
    patch, patch_t = config.get("patch_size", 2), config.get("patch_size_t") or 1
    scale = 2 ** (len(vae["block_out_channels"]) - 1)
    sample = (config["sample_height"], config["sample_width"])
    height, width = (min(sample[0], NATIVE_15[0]), min(sample[1], NATIVE_15[1])) if patch_t > 1 else sample
    return BackboneSpec(
        name="CogVideoX",
        notices=(),
        trained=True,
        trained_frames=config["sample_frames"],
        fps=FPS_15 if patch_t > 1 else FPS,
        latent_size=(height, width),
        native_area=height * width * scale**2,
        multiple=scale * patch,
        frames_per_latent=int(vae.get("temporal_compression_ratio", 4)),
        any_size=any_size,  # the releases know one; our small ones are asked for at many
        trained_step=16 if patch_t > 1 else 8,
        strength_shift=None if any_size else STRENGTH_SHIFT,
        # The table of a "slice" grid ends at the sample size; beyond it there are no positions.
        max_side=min(sample) * scale if patch_t > 1 else None,
        patch_frames=patch_t,
        leading_latents=patch_t - 1,
    )


def of_wan(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """The spec of a Wan by its transformer and autoencoder; `notes` are of a small one of ours.

    Name, notices, shift and world are the caller's.
    """
    patch, scale, places = config["patch_size"][1], vae.get("scale_factor_spatial", 8), config["rope_max_seq_len"]
    width = config["num_attention_heads"] * config["attention_head_dim"]
    height, width = notes.get("native_size", NATIVE_WAN.get(width, LARGEST_WAN))
    step = int(vae.get("scale_factor_temporal", 4))
    length, fps = (FRAMES_WAN22, FPS_WAN22) if vae.get("is_residual") else (FRAMES_WAN, FPS_WAN)
    return BackboneSpec(
        name="Wan",
        notices=(),
        trained=True,
        trained_frames=int(notes.get("native_frames", length)),
        fps=fps,
        latent_size=(height // scale, width // scale),
        native_area=height * width,
        multiple=scale * patch,
        frames_per_latent=step,
        trained_step=4,
        strength_shift=STRENGTH_SHIFT,
        # Its rotary table has so many places a side, and as many for latent frames.
        max_side=places * scale * patch,
        max_latents=places,
    )


def of_blueprint(drawn: Blueprint, notes: Config) -> BackboneSpec:
    """The spec of a checkpoint by its files; `notes` are those of flowedit.json, if it is one of ours."""
    if drawn.wan:
        return of_wan(drawn.transformer, drawn.vae, notes)
    return of_cogvideox(drawn.transformer, drawn.vae, any_size="classes" in notes)


def geometry(
    spec: BackboneSpec, channels: int, scale: int, frame_step: int, frames: int, size: tuple[int, int]
) -> Geometry:
    """The nearest valid shape of a clip of `frames` at about size (height, width).

    `frame_step` k + 1 frames (the last is repeated), sides in multiples of the autoencoder's `scale` and the network's
    patches. Raises InputError for no frames, and for a side that the model has no positions for.
    """
    if frames < 1:
        raise InputError(f"a clip of {frames} frames has nothing to edit")
    whole = 1 + frame_step * -(-(frames - 1) // frame_step)
    height, width = (max(spec.multiple, round(s / spec.multiple) * spec.multiple) for s in size)
    if spec.max_side is not None and max(height, width) > spec.max_side:
        raise InputError(f"size {width}x{height} has a side over {spec.max_side}, the most that {spec.name} knows")
    latents = 1 + (whole - 1) // spec.frames_per_latent + spec.leading_latents
    return Geometry(frames, whole, (height, width), (channels, latents, height // scale, width // scale))


def geometry_of(drawn: Blueprint, spec: BackboneSpec, frames: int, size: tuple[int, int]) -> Geometry:
    """The same, of a checkpoint by its files."""
    step = spec.frames_per_latent if drawn.wan else 8
    return geometry(spec, int(drawn.transformer["in_channels"]), drawn.scale, step, frames, size)
