"""A checkpoint in the hub's cache that is not whole is completed, and never taken for whole."""

import json
import shutil
from pathlib import Path

import pytest

from flowedit.backbones import families
from flowedit.backbones.released import save_released
from flowedit.config.compose import compose
from flowedit.messages import DownloadError, InputError
from flowedit.pretrained import layout

REPOSITORY = "zai-org/CogVideoX-5b"
COMMIT = "a" * 40


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return save_released(tmp_path_factory.mktemp("release") / "5b", "cogvideox-5b", small=True)


@pytest.fixture
def cache(tmp_path, monkeypatch, release):
    """The hub's cache on disk, without a listing of the repository's files; what the hub holds comes when asked for."""
    import huggingface_hub

    storage = tmp_path / "hub" / "models--zai-org--CogVideoX-5b"
    snapshot = storage / "snapshots" / COMMIT
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / "main").write_text(COMMIT)
    snapshot.mkdir(parents=True)
    real, asked = huggingface_hub.snapshot_download, []

    def snapshot_download(repository, *, allow_patterns, local_files_only=False):
        if local_files_only:
            return real(repository, allow_patterns=allow_patterns, local_files_only=True, cache_dir=storage.parent)
        asked.append(repository)
        shutil.copytree(release, snapshot, dirs_exist_ok=True)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return snapshot, asked


def put(release: Path, snapshot: Path, *lost: str) -> None:
    """The release in the cache, without the files and folders that are lost."""
    shutil.copytree(release, snapshot, dirs_exist_ok=True)
    for name in lost:
        place = snapshot / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()


LOST = {
    "only the vae, as another program left it": (
        "model_index.json", "transformer", "text_encoder", "tokenizer", "scheduler",
    ),
    "a missing shard": ("transformer/diffusion_pytorch_model-00002-of-00002.safetensors",),
    "a shard of the text encoder": ("text_encoder/model-00001-of-00002.safetensors",),
    "all shards but their index": (
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
    ),
    "a missing index": ("transformer/diffusion_pytorch_model.safetensors.index.json",),
    "a whole component": ("vae",),
    "the tokenizer's model": ("tokenizer/spiece.model",),
    "the scheduler's file": ("scheduler/scheduler_config.json",),
    "a component's configuration": ("transformer/config.json",),
    "model_index.json alone": ("model_index.json",),
    "an empty folder": ("model_index.json", "transformer", "text_encoder", "tokenizer", "scheduler", "vae"),
}  # fmt: skip


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_cache_that_is_not_whole_is_completed(cache, release, lost):
    snapshot, asked = cache
    put(release, snapshot, *lost)
    assert families.downloaded(REPOSITORY) is None
    assert layout.lacking(snapshot)
    folder = families.download(REPOSITORY, "21.5 GB")
    assert asked == [REPOSITORY]
    assert not layout.lacking(folder)
    families.load(folder, device="cpu").ready()


def test_a_whole_cache_is_taken_and_nobody_is_asked(cache, release):
    snapshot, asked = cache
    put(release, snapshot)
    assert families.download(REPOSITORY, "21.5 GB") == families.downloaded(REPOSITORY) == snapshot
    assert asked == []


def test_weights_that_a_single_file_replaces_are_not_asked_for(cache, release, monkeypatch):
    snapshot, asked = cache
    chosen = compose({"backbone": "cogvideox-5b", "backbone.transformer": "other.safetensors"}).backbone
    without = families.replaced(chosen)
    assert without == ("transformer",)
    put(release, snapshot, *LOST["a missing shard"])
    assert families.downloaded(REPOSITORY) is None
    assert families.here(chosen) == families.download(REPOSITORY, "21.5 GB", without) == snapshot
    assert asked == []
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    seen = []
    fetched = lambda *_, allow_patterns, **__: seen.append(allow_patterns) or str(release)  # noqa: E731
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    families.download(REPOSITORY, "21.5 GB", without)
    assert "transformer/*.safetensors" not in seen[-1]
    assert {"transformer/*.json", "vae/*.safetensors"} <= set(seen[-1])


def test_without_a_connection_the_line_names_what_the_cache_lacks(cache, release, monkeypatch):
    snapshot, _ = cache
    put(release, snapshot, *LOST["a missing shard"])
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    with pytest.raises(
        DownloadError, match=r"21.5 GB.*still lacks transformer/diffusion_pytorch_model-00002.*--backbone DIR"
    ):
        families.download(REPOSITORY, "21.5 GB")


@pytest.mark.parametrize(
    "content", ["[]", "null", "3", "{", '{"weight_map": {}}', '{"weight_map": {"a": "../b.safetensors"}}']
)
def test_an_index_that_holds_something_else_is_downloaded_again(cache, release, content):
    snapshot, asked = cache
    put(release, snapshot)
    index = snapshot / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.safetensors\.index\.json"):
        layout.lacking(snapshot)
    families.load(families.download(REPOSITORY, "21.5 GB"), device="cpu").ready()
    assert asked == [REPOSITORY]


def test_components_that_no_text_to_video_model_needs_are_not_asked_for(release, copied):
    folder = copied(release)
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"image_encoder": ["transformers", "CLIPVisionModel"], "feature_extractor": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    assert layout.lacking(folder) == []


def test_no_pickle_is_downloaded():
    from huggingface_hub.utils import filter_repo_objects

    from flowedit.backbones.checkpoint import FILES

    wanted = [
        "model_index.json", "scheduler/scheduler_config.json", "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json", "tokenizer/spiece.model",
        "tokenizer/tokenizer.json", "text_encoder/model.safetensors", "vae/config.json",
    ]  # fmt: skip
    other = [
        "transformer/diffusion_pytorch_model.bin",
        "text_encoder/pytorch_model.bin",
        "README.md",
        "image_encoder/a.safetensors",
    ]
    assert list(filter_repo_objects(wanted + other, allow_patterns=list(FILES))) == wanted
