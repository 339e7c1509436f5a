"""Shared fixtures: small random checkpoints, a short clip with sound, and no way out to a hub or a home folder."""

import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads both once
os.environ["HF_HUB_CACHE"] = os.path.join(os.path.dirname(__file__), "no-hub-cache")

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

FPS = 10
FRAMES = 12
SIZE = (64, 96)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `full` runs when it is asked for alone, `-m full`: whatever else is selected leaves it out."""
    if "full" not in config.option.markexpr:
        items[:] = [item for item in items if "full" not in item.keywords]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No hub, an embedding cache of this session's own, one thread."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    cache.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)  # xdist runs a process a core


def _backbone(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Path:
    from flowedit.backbones.random_weights import save_random

    return save_random(tmp_path_factory.mktemp("backbones") / f"random-{kind}", kind)


@pytest.fixture(scope="session")
def backbone_2b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random checkpoint shaped like CogVideoX-2b. Read only: copy it to change it."""
    return _backbone(tmp_path_factory, "2b")


@pytest.fixture(scope="session")
def backbone_5b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like CogVideoX-5b (rotary positions)."""
    return _backbone(tmp_path_factory, "5b")


@pytest.fixture(scope="session")
def backbone_15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like CogVideoX1.5-5b (rotary positions, patches of two latent frames)."""
    return _backbone(tmp_path_factory, "1.5")


@pytest.fixture(scope="session")
def backbone_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like Wan 2.1."""
    return _backbone(tmp_path_factory, "wan")


@pytest.fixture(scope="session")
def backbone_wan22(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like Wan 2.2 5B: a residual autoencoder of patches, a time for each token."""
    return _backbone(tmp_path_factory, "wan2.2")


@pytest.fixture(scope="session")
def backbone_a14b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like Wan 2.2 A14B: two networks, the second below t = 0.875."""
    return _backbone(tmp_path_factory, "wan2.2-a14b")


@pytest.fixture(scope="session")
def backbone_ltx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like LTX-Video 0.9: packed latents, text whose padding is masked."""
    return _backbone(tmp_path_factory, "ltx")


@pytest.fixture(scope="session")
def backbone_ltx091(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like LTX-Video 0.9.1: a decoder that is told a time, and adds noise."""
    return _backbone(tmp_path_factory, "ltx0.9.1")


@pytest.fixture(scope="session")
def backbone_hunyuan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like HunyuanVideo: video before text, masked, a Llama and CLIP, guidance that is told."""
    return _backbone(tmp_path_factory, "hunyuan")


@pytest.fixture(scope="session")
def backbone_hunyuan_free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but guided by two rows."""
    return _backbone(tmp_path_factory, "hunyuan-free")


@pytest.fixture(scope="session")
def backbone_mochi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like Mochi 1: a time that runs the other way, masked text behind the video."""
    return _backbone(tmp_path_factory, "mochi")


@pytest.fixture(scope="session")
def backbone_modelscope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like ModelScope and Zeroscope: a UNet that predicts noise, with attention at three sizes."""
    return _backbone(tmp_path_factory, "modelscope")


@pytest.fixture(scope="session")
def backbone_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like SDXL: a UNet of stills, two text encoders."""
    return _backbone(tmp_path_factory, "sdxl")


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 96x64 at 10 a second, a square that moves over stripes, with a tone of 1.2 s. Read only."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `flowedit ARGS` in this process; returns the exit code, stdout and stderr."""
    from flowedit.cli.main import main

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as stop:  # --help and --version
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def write_clip(path: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE, sound: bool = True) -> Path:
    """An H.264 mp4 whose frames are all different."""
    height, width = size
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
        for index in range(frames):
            picture = np.full((height, width, 3), 60, np.uint8)
            picture[:, ::8] = (30, 120, 90)
            picture[height // 4 : height // 2, 4 * index + 4 : 4 * index + 24] = (220, 40, 40)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            time = np.arange(44100 * frames // FPS, dtype=np.float32) / 44100
            tone = av.AudioFrame.from_ndarray(0.3 * np.sin(2 * np.pi * 440 * time)[None], format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = 44100, 0, Fraction(1, 44100)
            container.mux(audio.encode(tone))
            container.mux(audio.encode(None))
    return path


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a folder, to be changed."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "copied" / folder.name))

    return copy


@pytest.fixture(scope="session")
def backbone_anyflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like AnyFlow on Wan 2.1: mean velocities over intervals, no guidance."""
    return _backbone(tmp_path_factory, "anyflow")


@pytest.fixture(scope="session")
def backbone_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like FLUX.1 dev: single pictures, guidance as an input of the network."""
    return _backbone(tmp_path_factory, "flux")


@pytest.fixture(scope="session")
def backbone_schnell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, shaped like FLUX.1 schnell: no guidance, no shift."""
    return _backbone(tmp_path_factory, "flux-schnell")
