"""`flowedit inspect`: the numbers in closed form, the page's content, its files, and what is refused in one line."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from flowedit.backbones import families
from flowedit.cli import main as cli
from flowedit.inspection import coding, page, reading, shapes, sight
from flowedit.inspection.sight import SightStudy

FOX = str(Path(__file__).resolve().parents[2] / "examples" / "fox.yaml")


class Checker(HTMLParser):
    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.alts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[key] for key in ("src", "href") if key in attrs]
        if tag == "img":
            assert attrs["alt"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def fox(tmp_path_factory):
    out = tmp_path_factory.mktemp("inspect") / "fox"
    assert cli.main(["inspect", FOX, "--quiet", "--out", str(out)]) == 0
    return out


def test_the_page_is_whole_by_itself(fox):
    text = (fox / "inspect.html").read_text(encoding="utf-8")
    checker = Checker(text)
    assert checker.open == []
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in checker.addresses)
    assert "default-src 'none'" in text
    assert "http:" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text
    for said in (
        "What goes through pocket", "16×3×16×16", "3×8×8 = 192", "24×128", "of T5; ", "mask.blocks=[0.188]",
        "similarity: output", "down_blocks 4", "up_blocks 1", "encoded and decoded", "block 8", "▁fox",
    ):  # fmt: skip
        assert said in text, said


def test_the_best_block_is_marked_for_the_object_alone(fox):
    text = (fox / "inspect.html").read_text(encoding="utf-8")
    (marked,) = [part for part in text.split("<figure")[1:] if part.startswith(' class="best"')]
    assert "attention of block 2 to fox" in marked


def test_its_numbers_are_those_of_the_clip(fox):
    found = json.loads((fox / "inspect.json").read_text(encoding="utf-8"))
    auc = np.array(found["attention"]["auc"])
    assert auc.shape == (3, 5, 8)
    assert found["attention"]["words"] == ["fox", "moves", "right", "green", "grass"]
    assert auc[:, 0, 1].min() > 0.9  # the tuned block sees the fox
    assert auc[:, 0, 3].max() < 0.3  # another one looks away from it
    assert found["suggestion"]["option"] == "mask.blocks=[0.188]"
    assert found["suggestion"]["scores"][1] == max(found["suggestion"]["scores"])
    assert found["autoencoder"]["encoder"]["down_blocks 2"] == [32, 3, 32, 32]
    assert found["autoencoder"]["decoder"]["conv_out"] == [3, 9, 128, 128]
    assert 20 < found["autoencoder"]["round_trip_psnr"] < 40
    prompt = found["prompt"]
    assert [round(row[i], 4) for layer in prompt["similarity"] for i, row in enumerate(layer)] == [1.0] * 20
    assert prompt["kept"][0] == [1.0] * 5
    assert prompt["spread"][0] == [0.0] * 5  # in the embedding no word knows of another
    assert min(prompt["spread"][-1]) > 0
    assert [row[i] for i, row in enumerate(prompt["reach"])] == [None] * 5


def test_its_pictures_are_files_too(fox):
    names = {path.name for path in fox.iterdir()}
    assert names == {
        "inspect.html", "inspect.json", "run.yaml", "words.png", "frame.png", "encoder.png", "decoder.png",
        "latent.png", "round_trip.png", *(f"attention_{n}.png" for n in range(1, 6)),
    }  # fmt: skip
    assert all(min(cv2.imread(str(fox / name)).shape[:2]) >= 100 for name in names if name.endswith(".png"))


def test_a_second_study_takes_the_place_of_the_first(fox, capsys):
    assert cli.main(["inspect", "--prompt", "a car", "--quiet", "--json", "--out", str(fox.parent / "again")]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["autoencoder"] is None
    assert any("no clip" in note for note in before["notes"])
    names = {path.name for path in (fox.parent / "again").iterdir()}
    assert "encoder.png" not in names
    assert "attention_1.png" in names
    assert "attention_2.png" not in names


def test_a_suggestion_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", FOX, "--suggest", "--quiet"]) == 0
    assert capsys.readouterr().out == "mask.blocks=[0.188]\n"
    # without a mask by where the velocities differ: of the edit, and of the prompt alone
    clip, prompt = FOX.replace(".yaml", ".mp4"), "a fox moves right over green grass"
    pair = ["--target", prompt.replace("fox", "panda"), "--target-words", "panda"]
    for more in (pair, []):
        line = ["inspect", clip, "--prompt", prompt, "--source-words", "fox", "--suggest", "--quiet", *more]
        assert cli.main(line) == 0
        out = capsys.readouterr()
        assert out.out in ("mask.blocks=[0.188]\n", "mask.blocks=[0.0625]\n")
        assert "velocities differ" in out.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["2b", "5b", "15", "wan", "wan22", "a14b"])
def test_every_family_is_seen(request, tmp_path, kind):
    folder = request.getfixturevalue(f"backbone_{kind}")
    line = ["inspect", FOX, "--backbone", str(folder), "--size", "64x64", "--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(line) == 0
    found = json.loads((tmp_path / "out" / "inspect.json").read_text())
    assert len(found["attention"]["blocks"]) == 3
    assert np.array(found["attention"]["auc"]).shape == (3, 5, 3)
    text = found["shapes"]["text tokens"]
    wan = kind in ("wan", "wan22", "a14b")
    assert text == ("512×32" if wan else "226×32")
    padding = [row[-1] for row in found["prompt"]["reach"]]
    assert all(each is None for each in padding) == wan  # Wan's network is shown zeros there
    assert ("attention to the text" in found["shapes"]) == wan
    stages = list(found["autoencoder"]["encoder"])
    assert stages[0] == "conv_in"
    assert stages[-1] == "conv_out"
    colours = 12 if kind == "wan22" else 3  # four pixels are channels there
    assert found["autoencoder"]["decoder"]["conv_out"][0] == colours
    assert any("two networks" in note for note in found["notes"]) == (kind == "a14b")


def test_what_cannot_be_seen_is_refused_in_one_line(tmp_path, backbone_2b, capsys):
    lacking = tmp_path / "lacking"
    shutil.copytree(backbone_2b, lacking)
    shutil.rmtree(lacking / "text_encoder")
    clip = FOX.replace(".yaml", ".mp4")
    for line, said in (
        ([], "nothing to inspect"),
        (["no.mp4"], "no.mp4 does not exist"),
        ([clip, "--prompt", "a fox runs", "--source-words", "wolf"], "'wolf' is not in the prompt"),
        (["--prompt", "of the"], "names nothing"),
        (["--prompt", "a fox", "--suggest"], "a block is suggested for an object"),
        (["--prompt", "a fox", "--user-mask", clip], "a mask belongs to a clip"),
        (["--prompt", "a fox", "--suggest", "--json"], "give one of them"),
        ([clip, FOX], "one clip at a time"),
        (["--prompt", "a fox", "--backbone", str(lacking)], "lacks text_encoder/config.json"),
        ([clip, "--prompt", "a fox", "--user-mask", "no.png"], "no.png does not exist"),
    ):
        assert cli.main(["inspect", *line, "--quiet", "--out", str(tmp_path / "out")]) == 1, line
        err = capsys.readouterr().err
        assert said in err, (line, err)
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_an_output_folder_with_other_files_is_not_written_into(tmp_path, capsys):
    (tmp_path / "words.png").write_bytes(b"mine")
    assert cli.main(["inspect", "--prompt", "a fox", "--quiet", "--out", str(tmp_path)]) == 1
    assert "words.png" in capsys.readouterr().err
    assert (tmp_path / "words.png").read_bytes() == b"mine"


@pytest.mark.parametrize(("kind", "width", "note"), [
    ("2b", 32, "of T5; 4 are the prompt's, the others padding, which is encoded like text"),
    ("wan", 32, "of UMT5; 4 are the prompt's, the others padding, whose states are zeros"),
    ("ltx", 32, "of T5; 4 are the prompt's, the others padding, which the video does not see"),
    ("mochi", 32, "of T5; 4 are the prompt's, the others padding, which the video does not see"),
    ("hunyuan", 32, "of Llama; 95 more, of its template, are left out; CLIP reads the prompt too; "
                    "4 are the prompt's, the others padding, which the video does not see"),
    ("sdxl", 80, "of CLIP; CLIP reads the prompt too; "
                 "4 are the prompt's, the others padding, which is encoded like text"),
])  # fmt: skip
def test_padding_is_said_and_drawn_as_the_network_is_given_it(request, kind, width, note):
    text = families.load(request.getfixturevalue(f"backbone_{kind}"), device="cpu").text
    found = reading.read_prompt(text, "a red fox")
    assert shapes.text_note(text.reading, 4) == note
    assert found.width == width
    assert np.isfinite(found.reach[:, -1]).all() == ("encoded like text" in note)
    assert np.isnan(found.reach[:, -1]).any() == ("encoded like text" not in note)
    assert ("padding" in page.reach_table(found).heads) == ("encoded like text" in note)


def test_without_a_prompt_the_note_says_what_becomes_of_padding(backbone_wan):
    of = families.load(backbone_wan, device="cpu").text.reading
    assert shapes.text_note(of, None) == "of UMT5; a prompt is padded to so many, whose states are zeros"


def test_equal_words_are_alike_and_what_stays_does_not_move():
    x = torch.randn((3, 8), generator=torch.Generator().manual_seed(0))
    x[2] = 5 * x[0]
    found = reading.similarity(x)
    assert torch.allclose(found.diagonal(), torch.ones(3))
    assert float(found[0, 2]) == pytest.approx(1)
    assert float(reading.similarity(torch.eye(2))[0, 1]) == 0
    assert float(reading.shift(x, x).max()) == 0
    assert torch.allclose(reading.shift(x, 3 * x), torch.full((3,), 2.0))


def test_a_picture_of_features_shows_what_varies_most():
    wave = torch.linspace(0, 1, 16).expand(16, 16)
    x = torch.stack([0.01 * torch.rand(16, 16, generator=torch.Generator().manual_seed(0)), 9 * wave, wave.T])
    seen = coding.picture(x)
    assert seen.shape == (16, 16, 3)
    assert seen[:, -1, 0].min() > 240  # the strongest direction is the wave along the rows, in red
    assert seen[:, 0, 0].max() < 15
    flat = coding.picture(torch.ones(4, 5, 6))
    assert flat.shape == (5, 6, 3)
    assert coding.picture(wave[None]).std(2).max() == 0  # one channel is grey


@pytest.mark.parametrize("size", [(64, 96), (64, 64), (96, 64)])
def test_a_stage_with_its_channels_last_is_drawn_as_one_with_them_first(size):
    x = torch.randn(1, 12, 3, size[0] // 8, size[1] // 8)
    assert torch.equal(coding.channels_first(x, size), x)
    assert torch.equal(coding.channels_first(x.movedim(1, -1), size), x)


def test_latent_frames_hold_the_frames_that_a_causal_autoencoder_gives_them():
    assert [coding.latent_of(frame, 4) for frame in range(10)] == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_a_mask_suggests_the_block_with_the_greatest_area_of_the_named_words():
    auc = np.full((3, 2, 4), 0.5)
    auc[:, 0, 2], auc[:, 1, 3] = 0.8, 0.99
    study = SightStudy(("fox", "grass"), (0.3, 0.6, 0.9), 0, np.ones((3, 2, 4, 2, 2)), auc)
    assert sight.by_mask(study, "fox", [0]).option == "mask.blocks=[0.625]"
    assert sight.by_mask(study, "grass", [1]).block == 3


def test_colours_go_from_dark_to_yellow_and_numbers_leave_out_what_is_none():
    seen = page.colours(np.array([[0.0, 1.0]]), 0.0, 1.0)[0]
    assert seen[0].sum() < 200
    assert seen[1][0] > 200
    assert seen[1][2] < 80
    assert page.numbers(np.array([1.0, np.nan])) == [1.0, None]
    assert page.HeatTable("", "", (), (), 0.5, 1.0).share(0.75) == 0.5
    assert page.HeatTable("", "", (), (), 0.5, 1.0).share(None) == 0


def test_a_prompt_is_text_on_the_page(tmp_path):
    assert cli.main(["inspect", "--prompt", "a <b>fox</b>", "--quiet", "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "inspect.html").read_text(encoding="utf-8")
    assert "<b>fox" not in text
    assert "&lt;b&gt;fox" in text
