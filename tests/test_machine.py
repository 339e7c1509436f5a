"""Files and folders that appear whole or not at all."""

import os
import stat
import subprocess
import sys

import pytest

from flowedit.machine import whole_file, whole_folder


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
    for path in (tmp_path / "a.txt", tmp_path / "new" / "newer" / "b.txt"):
        with pytest.raises(error), whole_file(path) as part:
            part.write_text("half")
            raise error
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
