"""Other people's networks, small and random, through our doors; no weights are downloaded."""

import errno
import os
import pickle
import weakref
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    ViTConfig,
    ViTModel,
)

from flowedit.config import compose
from flowedit.media import probe, reader
from flowedit.metrics.semantic import clip_t
from flowedit.pipeline.prompts import captions, instruction
from flowedit.pretrained import clip, dino, hub, raft, vlm
from flowedit.types import QUIET

CPU = torch.device("cpu")
LONGEST = 20
LETTERS = sorted(ByteLevel.alphabet())
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
MARKS += ["<|video_pad|>"]
TEMPLATE = (
    "{% for said in messages %}<|im_start|>{{ said.role }}\n{% for part in said.content %}{% if part.type == 'video' %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def frames(n, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), np.uint8)


def save(folder, model):
    """Weights far from their usual start, where all frames look alike."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    words = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    start, end = len(words) - 2, len(words) - 1
    text = {"vocab_size": len(words), "max_position_embeddings": LONGEST, "bos_token_id": start, "eos_token_id": end}
    picture = {"image_size": 32, "patch_size": 8}
    folder = tmp_path_factory.mktemp("clip")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPProcessor(CLIPImageProcessor(**size), tokenizer).save_pretrained(folder)
    config = CLIPConfig(text_config={**shape, **text}, vision_config={**shape, **picture}, projection_dim=8)
    return save(folder, CLIPModel(config))


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ViTConfig(**shape, image_size=224, patch_size=32)
    return save(tmp_path_factory.mktemp("dino"), ViTModel(config, add_pooling_layer=False))


@pytest.fixture(scope="module")
def vlm_folder(tmp_path_factory):
    ids = {word: index for index, word in enumerate([*LETTERS, *MARKS])}
    tokenizer = Qwen2Tokenizer(vocab=ids, merges=[], eos_token="<|im_end|>")
    tokenizer.add_tokens(MARKS, special_tokens=True)
    text = {"vocab_size": len(ids), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "eos_token_id": ids["<|im_end|>"]}
    text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}}
    picture = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config={**picture, "fullatt_block_indexes": [1]},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    folder = tmp_path_factory.mktemp("vlm")
    parts = (Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor())
    Qwen2_5_VLProcessor(*parts, chat_template=TEMPLATE).save_pretrained(folder)
    return save(folder, Qwen2_5_VLForConditionalGeneration(config))


class Plain:
    """A CLIP model as torchmetrics 1.9 wants it: features are tensors, as before transformers 5."""

    def __init__(self, model):
        self.model, self.config = model, model.config

    def to(self, _device):
        return self

    def get_image_features(self, pixels):
        return self.model.get_image_features(pixels).pooler_output

    def get_text_features(self, tokens, mask):
        return self.model.get_text_features(tokens, mask).pooler_output


def test_clip_t_is_torchmetrics_clip_score(clip_folder):
    from torchmetrics.functional.multimodal import clip_score

    ours, clips = clip.load(CPU, clip_folder), frames(3, 40, 56)
    clips[1] //= 4
    theirs = Plain(CLIPModel.from_pretrained(clip_folder)), CLIPProcessor.from_pretrained(clip_folder)
    scores = []
    for prompt in ("a red fox", "snow", "Two cats!", "b"):
        found = clip_t(ours.images(clips), ours.text(prompt))
        pictures = [torch.from_numpy(frame).permute(2, 0, 1) for frame in clips]
        expected = [clip_score(picture, prompt, lambda: theirs).item() for picture in pictures]
        assert found == pytest.approx(expected, abs=1e-4)
        scores += expected
    assert sum(score > 1 for score in scores) >= 4
    assert np.ptp(scores) > 5


def test_clip_vectors_have_unit_length_whatever_the_chunk(clip_folder, monkeypatch):
    model, clips = clip.load(CPU, clip_folder), frames(5, 33, 48)
    whole = model.images(clips)
    assert whole.dtype == np.float64
    assert np.linalg.norm(whole, axis=-1) == pytest.approx(1, abs=1e-12)
    monkeypatch.setattr(clip, "CHUNK", 2)
    assert model.images(clips) == pytest.approx(whole, abs=1e-6)
    assert clip.load(CPU, clip_folder) is model


def test_a_prompt_that_is_too_long_keeps_its_beginning_and_its_end_mark(clip_folder):
    model = clip.load(CPU, clip_folder)
    fits = "x" * (LONGEST - 2)
    cut = model.processor.tokenizer([fits + "yz"], truncation=True, max_length=LONGEST, return_tensors="pt")
    vector = model.model.get_text_features(cut["input_ids"]).pooler_output[0].double()
    assert int(cut["input_ids"][0, -1]) == model.model.config.text_config.eos_token_id
    assert model.text(fits + "yz") == pytest.approx((vector / vector.norm()).numpy(), abs=1e-6)
    assert model.text(fits + "yz" * 50) == pytest.approx(model.text(fits + "yz"), abs=1e-6)


def test_dino_keys_are_the_last_layers_by_hand(dino_folder):
    clips = frames(2, 224, 224)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    values = (torch.from_numpy(clips) / 255 - mean) / deviation
    model = ViTModel.from_pretrained(dino_folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        entered = model(values.permute(0, 3, 1, 2), output_hidden_states=True).hidden_states[1]
    last = {name: value for name, value in load_file(dino_folder / "model.safetensors").items() if ".1." in name}

    def pick(*ends):
        (value,) = [value for name, value in last.items() if name.endswith(ends)]
        return value

    normal = (entered - entered.mean(-1, keepdim=True)) / (entered.var(-1, keepdim=True, correction=0) + 1e-12).sqrt()
    normal = normal * pick("layernorm_before.weight") + pick("layernorm_before.bias")
    expected = normal @ pick("key.weight", "k_proj.weight").T + pick("key.bias", "k_proj.bias")
    found = dino.load(CPU, dino_folder).keys(clips)
    assert found.shape == (2, 7 * 7 + 1, 16)
    assert found == pytest.approx(expected.numpy(), abs=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_dino_sees_frames_of_any_shape_in_chunks(dino_folder, monkeypatch):
    model, clips = dino.load(CPU, dino_folder), frames(3, 100, 250)
    whole = model.keys(clips)
    assert whole.shape == (3, (192 // 32) * (480 // 32) + 1, 16)  # the longer side becomes 480, not 560
    assert dino.pixels(frames(1, 300, 240), CPU).shape == (1, 3, 280, 224)
    monkeypatch.setattr(dino, "CHUNK", 2)
    assert model.keys(clips) == pytest.approx(whole, abs=1e-5)
    assert not model.projection._forward_hooks


@pytest.mark.parametrize("name", ["key", "k_proj"])
def test_the_last_key_projection_is_found_by_either_name_or_refused(name):
    model = nn.Module()
    model.layers = nn.ModuleList(nn.ModuleDict({"query": nn.Linear(2, 2), name: nn.Linear(2, 2)}) for _ in range(3))
    model.config = ViTConfig(num_hidden_layers=3)
    assert dino.last_keys(model) is model.layers[2][name]
    model.config = ViTConfig(num_hidden_layers=4)
    with pytest.raises(ValueError, match="3 key projections in 4 layers"):
        dino.last_keys(model)


class Spy:
    """A processor that remembers what it was given and gave."""

    def __init__(self, processor):
        self.processor, self.given, self.gave = processor, [], []

    def apply_chat_template(self, *args, **options):
        return self.processor.apply_chat_template(*args, **options)

    def __call__(self, **options):
        self.given.append(options)
        self.gave.append(self.processor(**options))
        return self.gave[-1]

    def batch_decode(self, tokens, **options):
        return self.processor.batch_decode(tokens, **options)


def test_the_vision_language_model_answers_greedily_of_all_four_frames(vlm_folder, monkeypatch, capfd):
    real, spies = hub.processor, []

    def watched(cls, place):
        spies.append(Spy(real(cls, place)))
        return spies[-1]

    monkeypatch.setattr(hub, "processor", watched)
    vlm.load.cache_clear()
    clips = frames(4, 60, 90)
    said = vlm.load(CPU, vlm_folder)(clips, "Is it a fox?")
    assert capfd.readouterr() == ("", "")
    (spy,) = spies
    assert spy.given[0]["text"] == [
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Is it a fox?<|im_end|>\n<|im_start|>assistant\n"
    ]
    inputs = spy.gave[0]
    assert inputs["video_grid_thw"][0, 0] == 2  # pairs of frames
    assert list(inputs["second_per_grid_ts"]) == [1.0]
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(vlm_folder, dtype=torch.float32).eval()
    tokens, written = dict(inputs), []
    with torch.no_grad():
        for _ in range(vlm.LONGEST):  # no cache, no generate
            best = model(**tokens, use_cache=False).logits[0, -1].argmax().view(1, 1)
            written.append(int(best))
            if written[-1] == model.config.text_config.eos_token_id:
                break
            tokens["input_ids"] = torch.cat([tokens["input_ids"], best], 1)
            tokens["attention_mask"] = torch.ones_like(tokens["input_ids"])
            tokens["mm_token_type_ids"] = functional.pad(tokens["mm_token_type_ids"], (0, 1))
    assert said == spy.processor.tokenizer.decode(written, skip_special_tokens=True).strip()
    assert "<|" not in said
    other = clips.copy()
    other[3] = 255 - other[3]
    vlm.load(CPU, vlm_folder)(other, "Is it a fox?")
    assert not torch.equal(spy.gave[1]["pixel_values_videos"], inputs["pixel_values_videos"])


def captioned(vlm_folder, clip_file, **options):
    text = "make it look like a watercolour"
    return compose.compose({"clip": str(clip_file), "caption": str(vlm_folder), "instruction": text, **options})


def test_a_caption_is_the_models_own_sentence_and_the_model_is_gone_before_a_backbone_comes(
    vlm_folder, clip_file, monkeypatch
):
    real, held, asked = vlm.load_anew, [], []

    def watched(device, place, longest):
        ask = real(device, place, longest)
        held.append(weakref.ref(ask.__closure__[[*ask.__code__.co_freevars].index("model")].cell_contents))
        return lambda frames, question: asked.append((frames, question)) or ask(frames, question)

    monkeypatch.setattr(vlm, "load_anew", watched)
    settings = captioned(vlm_folder, clip_file)
    made = instruction.complete(settings, QUIET)
    assert [model() for model in held] == [None]
    ((shown, question),) = asked
    assert "one plain English sentence" in question
    chosen = [i * 12 // 16 for i in range(1, 16, 2)]
    info = probe.probe(clip_file)
    whole = np.concatenate(list(reader.read(info, list(range(info.frames)))))
    np.testing.assert_array_equal(shown, whole[chosen])
    said = real(CPU, vlm_folder, captions.LONGEST)(shown, question)
    assert len(said) > vlm.LONGEST  # more than a word
    assert made.source == " ".join(captions.sentence(said).split())
    assert "in the style of a watercolour" in made.target
    assert any(str(vlm_folder) in line for line in instruction.explain(made))
    assert instruction.complete(settings, QUIET) == made
    assert len(asked) == 1  # kept on disk
    with captions.Captions(QUIET, ask=False) as silent:
        assert instruction.complete(captioned(vlm_folder, clip_file, frames=4), QUIET, silent).source == "a scene"


def test_a_given_source_needs_no_model(vlm_folder, clip_file, monkeypatch):
    monkeypatch.setattr(vlm, "load_anew", lambda *_: pytest.fail("loaded for nothing"))
    made = instruction.complete(captioned(vlm_folder, clip_file, source="a fox runs"), QUIET)
    assert (made.source, made.target) == ("a fox runs", "a fox runs, in the style of a watercolour")


def test_the_question_names_the_object_and_the_answer_is_one_sentence(clip_file, monkeypatch):
    asked = []
    answer = '"The video shows a fox that runs over grass. It is sunny."'
    monkeypatch.setattr(vlm, "load_anew", lambda *_: lambda frames, question: asked.append(question) or answer)
    settings = {"clip": str(clip_file), "caption": "a/name", "instruction": "replace the fox with a panda"}
    made = instruction.complete(compose.compose(settings), QUIET)
    assert "Name the fox in these very words" in asked[0]
    assert (made.source, made.target) == ("A fox that runs over grass.", "A panda that runs over grass.")
    monkeypatch.setattr(vlm, "load_anew", lambda *_: lambda frames, question: " ")
    with pytest.raises(ValueError, match="says nothing"):
        instruction.complete(compose.compose(settings | {"caption": "another/name"}), QUIET)


def test_a_caption_model_that_cannot_be_had(clip_file):
    settings = {"clip": str(clip_file), "instruction": "remove the fox", "caption": "Qwen/Qwen2.5-VL-7B-Instruct"}
    with pytest.raises(ConnectionError, match=r"16\.6 GB"):
        instruction.complete(compose.compose(settings), QUIET)


NETS = [
    (clip, "openai/clip-vit-large-patch14", "1.7 GB"),
    (dino, "facebook/dino-vitb8", "0.3 GB"),
    (vlm, "Qwen/Qwen2.5-VL-7B-Instruct", "16.6 GB"),
]


@pytest.mark.parametrize(("net", "name", "size"), NETS, ids=["clip", "dino", "vlm"])
def test_a_hub_that_cannot_be_reached_is_one_line_with_what_to_do(net, name, size):
    with pytest.raises(ConnectionError) as caught:
        net.load(CPU)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"cannot get {name} ({size}) from the model hub (")
    assert "run once where the hub can be reached, or bring" in said
    assert "no-hub-cache" in said


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("kind", ["clip", "dino", "vlm"])
def test_a_pickle_is_refused_and_never_read(kind, tmp_path, request):
    folder = tmp_path / kind
    folder.mkdir()
    for path in request.getfixturevalue(f"{kind}_folder").iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    net = {"clip": clip, "dino": dino, "vlm": vlm}[kind]
    with pytest.raises(ValueError, match=r"cannot be loaded: .*model\.safetensors") as caught:
        net.load(CPU, folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_weights_that_are_missing_or_broken_are_refused(dino_folder, tmp_path):
    for path in dino_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(dino_folder / "model.safetensors")
    lost = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lacks 1 weights of a ViTModel"):
        dino.load(CPU, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be loaded"):
        dino.load(CPU, tmp_path)
    with pytest.raises(ValueError, match="neither a folder nor a name on the model hub"):
        dino.load(CPU, tmp_path / "gone")


@pytest.fixture(autouse=True)
def _no_memory_of_failures():
    hub._failed.clear()


class Source:
    """Something to load that answers as it is told, the local files first."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def from_pretrained(self, place, *, local_files_only, trust_remote_code):
        self.asked.append(local_files_only)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def test_the_cache_comes_before_the_hub_and_a_full_disk_is_called_so():
    cached, fetched = Source("it"), Source(OSError("not here"), "it")
    assert hub.processor(cached, "a/b") == hub.processor(fetched, "a/b") == "it"
    assert (cached.asked, fetched.asked) == ([True], [True, False])
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="a/b from the model hub cannot be stored: No space left") as caught:
        hub.processor(Source(OSError(), full), "a/b")
    assert not isinstance(caught.value, ConnectionError)
    with pytest.raises(ConnectionError, match=r"cannot get a/b from the model hub \(timed out\); run once"):
        hub.processor(Source(OSError(), RuntimeError("timed out\nand more")), "a/b")
    again = Source(OSError(), "it")
    with pytest.raises(ConnectionError, match=r"timed out\); run once"):
        hub.processor(again, "a/b")
    assert again.asked == [True]  # nor is the hub asked twice
    with pytest.raises(MemoryError):
        hub.processor(Source(MemoryError(), "it"), "a/b")


@pytest.fixture
def random_raft(monkeypatch):
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    model = raft_large(weights=None).eval()
    monkeypatch.setattr(raft, "_weights", model.state_dict)
    raft.load.cache_clear()
    yield model
    raft.load.cache_clear()


@pytest.mark.parametrize(("height", "width", "above", "left"), [(128, 136, 0, 0), (60, 131, 34, 2)])
def test_raft_pads_a_frame_and_crops_its_flow(random_raft, height, width, above, left):
    a, b = frames(2, height, width, 1), frames(2, height, width, 2)
    found = raft.load(CPU)(a, b)
    assert found.shape == (2, height, width, 2)
    assert found.dtype == np.float32
    below, right = (-(above + height) % 8, -(left + width) % 8)
    sides = ((0, 0), (above, max(below, 128 - above - height)), (left, max(right, 128 - left - width)), (0, 0))
    pair = [torch.from_numpy(np.pad(x, sides, mode="edge") / 127.5 - 1).permute(0, 3, 1, 2).float() for x in (a, b)]
    with torch.no_grad():
        whole = random_raft(*pair)[-1].permute(0, 2, 3, 1).numpy()
    expected = whole[:, above : above + height, left : left + width]
    assert found == pytest.approx(expected, abs=1e-3)
    assert np.abs(expected).max() > 0.01


def test_raft_refuses_frames_that_do_not_match(random_raft):
    with pytest.raises(ValueError, match="one shape"):
        raft.load(CPU)(frames(2, 16, 16), frames(1, 16, 16))


def test_raft_without_a_network_is_one_line(monkeypatch, tmp_path, capsys):
    def refuse(*_args, **_options):
        raise URLError("no route\nto host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    raft.load.cache_clear()
    with pytest.raises(ConnectionError) as caught:
        raft.load(CPU)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith("cannot get RAFT large (21 MB) from https://download.pytorch.org/")
    assert "run once where it can be reached, or bring the file to" in said
    assert capsys.readouterr().out == ""


def test_rafts_file_is_read_as_weights_only(monkeypatch, tmp_path):
    from torchvision.models.optical_flow import Raft_Large_Weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / Path(Raft_Large_Weights.DEFAULT.url).name
    file.parent.mkdir(parents=True)
    torch.save(Bomb(str(tmp_path / "exploded")), file)
    raft.load.cache_clear()
    with pytest.raises(OSError, match="RAFT large"):
        raft.load(CPU)
    assert not (tmp_path / "exploded").exists()


def test_a_snapshot_comes_from_the_cache_or_is_asked_for_anew(monkeypatch, tmp_path):
    answers, asked = [], []

    def snapshot_download(repository, *, allow_patterns, local_files_only=False):
        asked.append((repository, allow_patterns, local_files_only))
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)

    def get():
        return hub.snapshot("a/b", "2 GB", ("vae/*",), "bring it", lambda folder: [])

    answers[:] = [tmp_path]
    assert get() == tmp_path
    answers[:] = [OSError("not here"), tmp_path]
    assert get() == tmp_path
    assert asked == [("a/b", ["vae/*"], True)] * 2 + [("a/b", ["vae/*"], False)]
    answers[:] = [OSError(), OSError(errno.ENOSPC, "No space left on device")]
    with pytest.raises(OSError, match=r"a/b \(2 GB\) from the model hub cannot be stored: No space left") as caught:
        get()
    assert not isinstance(caught.value, ConnectionError)
    for _ in range(2):  # the second time, too, the hub itself is asked
        answers[:] = [OSError(), RuntimeError("timed out\nand more")]
        with pytest.raises(ConnectionError, match=r"get a/b \(2 GB\) from the model hub \(timed out\); bring it"):
            get()
        assert answers == []
    answers[:] = [OSError()]
    assert hub.cached_snapshot("a/b", ("vae/*",), lambda folder: []) is None
