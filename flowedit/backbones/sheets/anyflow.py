"""AnyFlow: Wan 2.1's network distilled to mean velocities; its releases, small random ones, shapes, memory and work."""

from dataclasses import replace
from typing import Any

from flowedit.backbones.encoders import t5
from flowedit.backbones.sheet import (
    FLOAT,
    SHEETS,
    Blueprint,
    Config,
    Latent,
    Recipe,
    Release,
    ReleasedPart,
    SampleSize,
    Signs,
)
from flowedit.backbones.sheets import wan
from flowedit.types import BackboneSpec

PIPELINES = ("AnyFlowPipeline", "WanAnyFlowPipeline")
"""diffusers', and that which its authors first wrote into the files on the hub."""

SCHEDULER: Config = {"num_train_timesteps": 1000, "shift": 5.0}

OWN: Config = {"deltatime_type": "r", "gate_value": 0.25}
"""What its network has beside Wan's."""


def _transformer(config: Config) -> Config:
    return {**{key: each for key, each in config.items() if key not in ("added_kv_proj_dim", "qk_norm")}, **OWN}


def _release(transformer: Config, files: int) -> Release:
    parts = {
        "transformer": ReleasedPart("AnyFlowTransformer3DModel", _transformer(transformer), "float32", files),
        "vae": ReleasedPart("AutoencoderKLWan", wan.VAE_WAN, "float32"),
        "text_encoder": t5.umt5_part("float32", 5),
    }
    scheduler = ("FlowMapEulerDiscreteScheduler", SCHEDULER)
    return Release("AnyFlowPipeline", "0.42.0", parts, scheduler, {"tokenizer": t5.UMT5_TOKENIZER})


RELEASES = {
    "anyflow-wan2.1-t2v-1.3b": _release(wan.TRANSFORMER, 2),
    "anyflow-wan2.1-t2v-14b": _release(wan.FOURTEEN_B, 12),
}


def _random(sample: SampleSize) -> Any:
    from diffusers import AnyFlowPipeline, AnyFlowTransformer3DModel, FlowMapEulerDiscreteScheduler

    whole = wan.SHEET.recipes["wan"].pipeline(sample).components
    parts = {name: each for name, each in whole.items() if each is not None}
    kept = {key: parts["transformer"].config[key] for key in _transformer(wan.TRANSFORMER) if key not in OWN}
    transformer: Any = AnyFlowTransformer3DModel(**kept, **OWN)
    wan.heeding(transformer)
    for embedder in (transformer.condition_embedder.time_embedder, transformer.condition_embedder.delta_embedder):
        embedder.linear_2.weight.data *= 8.0  # so that both times are heeded
    scheduler = FlowMapEulerDiscreteScheduler(num_train_timesteps=1000, shift=5.0)
    return AnyFlowPipeline(**parts | {"transformer": transformer.eval(), "scheduler": scheduler})


def spec_of(config: Config, vae: Config, notes: Config) -> BackboneSpec:
    """Wan's, but that its velocities are means, and that guidance is in its weights."""
    return replace(wan.spec_of(config, vae, notes), mean=True, guidance="none")


def _parameters(drawn: Blueprint) -> tuple[float, float, float]:
    rest, block, count = wan.SHEET.denoiser.parameters(drawn)
    d = drawn.width
    return rest + (drawn.denoiser["freq_dim"] + 1) * d + (d + 1) * d, block, count  # the second time's embedding


def _block(drawn: Blueprint, latent: Latent, itemsize: int) -> float:
    """Wan's, beside six scales and shifts of each token, as they are told and in float32, and the time's embedding.

    Or, at its start, these alone, where they are brought to float32 and added up.
    """
    each = drawn.tokens(latent) * drawn.width
    shifts, copies = 6 * each * FLOAT / itemsize, 2 if itemsize < FLOAT else 1
    later = wan.SHEET.denoiser.block(drawn, latent, itemsize) + 7 * each + shifts
    return max(later, 8 * each + copies * shifts)


SHEET = SHEETS.add(
    "anyflow",
    replace(
        wan.SHEET,
        pipelines=PIPELINES,
        signs=Signs("AnyFlow", r"condition_embedder\.delta_embedder"),
        spec=lambda drawn, notes: spec_of(drawn.denoiser, drawn.vae, notes),
        denoiser=replace(wan.SHEET.denoiser, parameters=_parameters, block=_block),
        releases=RELEASES,
        small=wan.SMALL | {"AnyFlowTransformer3DModel": wan.SMALL["WanTransformer3DModel"]},
        recipes={"anyflow": Recipe("AnyFlow", _random, wan.SHEET.recipes["wan"].notes)},
    ),
)
