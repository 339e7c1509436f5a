"""Files and folders that appear whole or not at all."""

import os
import stat
import subprocess
import sys
from contextlib import suppress

import pytest

from flowedit import machine
from flowedit.machine import whole_file, whole_folder
from flowedit.messages import FileError, InputError


def test_a_file_appears_whole_under_folders_that_were_not_there(tmp_path):
    path = tmp_path / "new" / "newer" / "a.txt"
    with whole_file(path) as part:
        part.write_text("one")
        assert part.parent == path.parent
        assert not path.exists()
    with whole_file(path) as part:
        part.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_the_file_is_as_it_was(tmp_path, error):
    (tmp_path / "a.txt").write_text("earlier")

    def interrupted(path):
        with whole_file(path) as part:
            part.write_text("half")
            raise error

    for path in (tmp_path / "a.txt", tmp_path / "new" / "newer" / "b.txt"):
        with pytest.raises(error):
            interrupted(path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "earlier")]


def test_parents_are_left_alone_on_request(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "no" / "a.txt", parents=False) as part:
        part.write_text("a")
    assert not list(tmp_path.iterdir())


def test_a_folder_appears_whole(tmp_path):
    path = tmp_path / "new" / "a"
    with whole_folder(path) as part:
        (part / "one.txt").write_text("1")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["one.txt"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(FileExistsError, match="is there already"), whole_folder(path) as part:
        (part / "two.txt").write_text("2")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "other" / "b") as part:
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["one.txt"]
    assert list(tmp_path.iterdir()) == [path.parent]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_modes_are_those_of_any_file(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with whole_file(tmp_path / "a") as part:
        part.write_text("a")
    with whole_folder(tmp_path / "b"):
        pass
    for usual, made in (("file", "a"), ("folder", "b")):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == stat.S_IMODE((tmp_path / usual).stat().st_mode)


def test_writing_a_file_loads_no_torch():
    code = "import sys, flowedit.machine, flowedit.media.writer; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_what_libraries_print_is_muted_and_what_follows_is_not(capfd):
    def speak(word):
        for place in (1, 2):
            os.write(place, word.encode())

    speak("a")
    with suppress(ValueError), machine.muted():
        speak("b")
        raise ValueError
    speak("c")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("ac", "ac")


@pytest.mark.parametrize("text", ["", "{]", "[" * 100_000, "9" * 5000, "\ud800"], ids=repr)
def test_json_that_is_none_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"a\.json' is not JSON") as caught:
        machine.read_json(path)
    assert len(str(caught.value)) < 300


def test_json_of_a_pipe_or_beyond_its_bound_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is not a file"):
        machine.read_json(tmp_path / "pipe")
    (tmp_path / "long").write_text("[1, 2, 3]")
    assert machine.read_json(tmp_path / "long") == [1, 2, 3]
    with pytest.raises(InputError, match="is longer than 4 bytes"):
        machine.read_json(tmp_path / "long", 4)


def test_of_a_folder_its_pictures_are_hashed_and_nothing_else_is_opened(tmp_path):
    for name in ("0.png", "1.PNG"):
        (tmp_path / name).write_bytes(name.encode())
    before = machine.digest_file(tmp_path)
    (tmp_path / "notes.txt").write_text("other")
    os.mkfifo(tmp_path / "2.png")
    assert machine.digest_file(tmp_path) == before
    with pytest.raises(FileError, match="is not a file"):
        machine.digest_file(tmp_path / "2.png")
    (tmp_path / "1.PNG").write_bytes(b"changed")
    assert machine.digest_file(tmp_path) != before
