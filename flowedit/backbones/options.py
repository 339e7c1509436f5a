"""Which backbone, and where and how its networks run."""

from dataclasses import dataclass
from typing import Literal

from flowedit.declare import option


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """Which pretrained model: a hub `repository`, a local `path`, or a folder `packaged` with us."""

    name: str | None = option("x")
    repository: str | None = option("x")
    download: str | None = option("x")
    path: str | None = option("x", written="text")
    packaged: str | None = option("x", default=None)
    memory: str | None = option("x", default=None)


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """Where and how the networks run."""

    device: str = option("x")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option("x")
    rows: int = option("x", least=0, expected="at least 0 (0: no limit)")
    tiling: bool = option("x")
    threads: int | None = option("x", least=1)
    cache: str | None = option("x", written="text")
