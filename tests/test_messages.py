"""What users read: one line, of a length that is read, without what only a programmer knows."""

import importlib.util
import logging
import pickle
import subprocess
import sys

import pytest

from flowedit.cli.progress import RichMonitor
from flowedit.messages import OF_TORCHAO, FileError, InputError, cut, first_line, listed, nearest, one_line, printable


def test_words_in_a_row():
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("gpu_10gb", "'gpu_8gb' or 'gpu_12gb'"),
        ("gpu_11gb", "'gpu_12gb'"),
        ("gpu_1000gb", "'gpu_80gb'"),
        ("gpu_8", "'gpu_8gb'"),
        ("cogvideox-7b", "'cogvideox-5b'"),
        ("gqu_80gb", "'gpu_80gb'"),
    ],
)
def test_a_wrong_number_leads_to_the_nearest_one(key, meant):
    known = iter(["auto", "cpu", "gpu_8gb", "gpu_12gb", "gpu_24gb", "gpu_80gb", "cogvideox-2b", "cogvideox-5b"])
    assert nearest(key, known) == f"; did you mean {meant}?"


def test_a_value_of_ten_thousand_letters_loses_its_middle():
    said = str(InputError(f"fps {'9' * 10_000!r} is not a frame rate: a number such as 8"))
    assert len(said) < 200
    assert said.startswith("fps '999")
    assert said.endswith("9' is not a frame rate: a number such as 8")
    assert " … " in said
    many = str(FileError("the prompt has " + "many words " * 1000 + "at its end"))
    assert len(many) <= 1001
    assert many.endswith("at its end")


@pytest.mark.parametrize("kind", [InputError, FileError])
def test_an_error_keeps_its_text_whole_and_travels(kind):
    error = pickle.loads(pickle.dumps(kind("a" * 5000)))
    assert len(str(error)) < 200
    assert error.args == ("a" * 5000,)


def test_a_command_with_a_long_name_stays_whole():
    name = "d/" + "n" * 251 + ".mp4"
    text = f"{name} has an alpha channel; convert it first: ffmpeg -i {name} -vf format=yuv420p {name}"
    assert cut(text) == text


def test_control_characters_and_halves_of_characters_are_spelt_out(capsys):
    assert printable("a\nb\x1b[31m \udcff é") == "a b\\x1b[31m \\udcff é"
    assert one_line(InputError("no \x07 bell")) == "no \\x07 bell"
    assert one_line(MemoryError()) == "out of memory: lower it with --size or --frames"
    with RichMonitor(quiet=True) as monitor:
        monitor.notice("a" * 5000 + "\x1b[31m")
    said = capsys.readouterr().err
    assert len(said) < 200
    assert "\x1b[31m" not in said


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("Error at 'a':\n    TypeError: expected int"), "Error at 'a': expected int"),
        (KeyError("vocab"), "'vocab' is missing"),
        (RuntimeError(""), "it gives no reason"),
        (TypeError("<class 'a.B'> takes no c"), "a.B takes no c"),
    ],
)  # fmt: skip
def test_the_text_of_another_library_loses_the_names_of_classes(error, says):
    assert first_line(error) == says


def test_what_torchao_makes_others_say_is_unsaid_and_nothing_else():
    heard = []
    lines = {
        "torch.utils._pytree": "<enum 'A'> is an Enum subclass and is now natively supported by torch.compile",
        "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects. This may affect",
    }
    assert lines.keys() == OF_TORCHAO.keys()
    for name, text in lines.items():
        logger = logging.getLogger(name)
        monitored = logging.Handler()
        monitored.emit = heard.append
        logger.addHandler(monitored)
        logger.warning(text)
        logger.warning("weights are lost")
        logger.removeHandler(monitored)
    assert [record.getMessage() for record in heard] == ["weights are lost"] * 2


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="the extra [quant] brings it")
def test_importing_beside_torchao_is_silent():
    code = "import flowedit, transformers.modeling_utils, diffusers.models.modeling_utils"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
