"""The options of a backbone and of where it runs; nothing here imports torch or diffusers."""

from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option


@dataclass(frozen=True)
class BackboneOptions:
    """Which pretrained model: a hub `repository`, a local `path`, or a folder `packaged` with us."""

    name: str | None = option("name of the backbone, as run.yaml keeps it", typed="NAME")
    repository: str | None = option("repository on the model hub, downloaded when first used", typed="OWNER/NAME")
    download: str | None = option("size of the download, for messages", typed="TEXT")
    path: str | None = option(
        "checkpoint folder on this machine, as save_pretrained writes it", typed="DIR", written="text"
    )
    transformer: str | None = option(
        "a single file with the weights of its transformer, in place of those in the folder",
        typed="FILE.safetensors|FILE.gguf",
        written="text",
        default=None,
    )
    transformer_2: str | None = option(
        "the same of the second transformer, of a model that has two",
        typed="FILE.safetensors|FILE.gguf",
        written="text",
        default=None,
    )
    packaged: str | None = option("checkpoint folder inside the package", typed="DIR", default=None)
    memory: str | None = option("memory that the model needs, for messages", typed="TEXT", default=None)
    license: str | None = option("license of the weights, for messages", typed="TEXT", default=None)
    parameters: float | None = option(
        "parameters of its transformer in billions; one of the hub without a number counts as full-size",
        typed="NUMBER",
        above=0,
        default=None,
    )


@dataclass(frozen=True)
class RuntimeOptions:
    """Where and how the networks run; only precision, stored weights and tiling change more than the last bits.

    `offload` and `rows` are what the presets of conf/runtime choose; auto takes the fastest of them that fits into the
    device's free memory. A kernel of `attention` is as precise as it is.
    """

    device: str = option(
        "where the networks run; auto: the GPU when there is one, else the CPU", typed="{auto,cpu,cuda,cuda:N,mps}"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "precision of the networks; auto: as saved on a GPU, float32 on a CPU",
        typed="{auto,float32,bfloat16,float16}",
    )
    offload: Literal["auto", "none", "parts", "blocks"] = option(
        "what waits in the host's memory: none | parts (all networks but the one at work) | blocks (all blocks of it "
        "but those at work, too) | auto (by the free memory)",
        typed="{auto,none,parts,blocks}",
    )
    weights: Literal["saved", "fp8", "int8"] = option(
        "how the transformer's weights are held: saved (in the networks' precision) | fp8 | int8 (needs torchao)",
        typed="{saved,fp8,int8}",
    )
    text_weights: Literal["saved", "int8"] = option(
        "how the text encoder's weights are held: saved | int8 (needs torchao)", typed="{saved,int8}"
    )
    rows: int | Literal["auto"] = option(
        "most batch rows in one network call; 0: all at once; 1 needs the least memory; auto: by the free memory",
        typed="{auto}|N",
        least=0,
        expected="auto or at least 0 (0: no limit)",
    )
    tiling: bool = option("encode and decode large frames by tiles: less memory, blended seams")
    threads: int | None = option("CPU threads; null: PyTorch's choice", typed="N", least=1)
    cache: str | None = option(
        "folder of cached text embeddings; auto: ~/.cache/flowedit; null: none",
        typed="{auto,null,DIR}",
        written="text",
    )
    attention: str | None = option(
        "kernel of attention by diffusers' name; null: that of DIFFUSERS_ATTN_BACKEND, or PyTorch's choice",
        typed="{null,native,flash,sage,cudnn,NAME}",
        written="text",
    )
    fuse: bool = option("one projection to queries, keys and values in place of three")
    compile: bool = option("compile the transformer's blocks: the first step takes longer, the others less")
    split_guidance: str | None = option(
        "second device, which takes the unconditional rows while the first takes the others; null: none",
        typed="{null,cuda:N,cpu}",
        written="text",
        needs="guided",
    )
    context_parallel: int = option(
        "processes that share the tokens of each network call, started by torchrun; 1: this one alone",
        typed="N",
        least=1,
    )
