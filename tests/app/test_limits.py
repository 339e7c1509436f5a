"""What comes from outside, without a server: names, keys, values, masks, and a form piece by piece."""

import asyncio
from dataclasses import fields

import pytest

from flowedit.app.http.uploads import received
from flowedit.app.jobs import JobRecord, check_mask, command_of, read_records, write_record
from flowedit.app.limits import TooMuchError, accepted, closed, known_options, safe_stem, safe_suffix
from flowedit.app.live import Live
from flowedit.app.looks import check_adjust
from flowedit.app.options import StudioOptions, studio_options
from flowedit.config.schema import Settings
from flowedit.declare import options_of
from flowedit.messages import Cancelled, Error, InputError

HAPPY = {"source": "a fox", "target": "a panda", "steps": 3, "mask.grow": 0.1, "mode": "inversion"}


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("clip.mp4", "clip", ".mp4"),
        ("../../etc/passwd", "passwd", ".mp4"),
        ("C:\\clips\\a b.MOV", "a-b", ".mov"),
        ("a\0b.mp4", "ab", ".mp4"),
        (".hidden", "hidden", ".mp4"),
        ("..", "clip", ".mp4"),
        ("狐狸.webm", "狐狸", ".webm"),
        ("🦊.mp4", "clip", ".mp4"),
        ("\ud800x.mp4", "x", ".mp4"),
        ("x" * 999 + ".mp4", "x" * 60, ".mp4"),
        ("狐" * 99 + ".mp4", "狐" * 40, ".mp4"),
        ("a.m/p4", "p4", ".mp4"),
        ("a.superlong", "a", ".mp4"),
    ],
)
def test_names_of_files(name, stem, suffix):
    assert (safe_stem(name), safe_suffix(name)) == (stem, suffix)


def test_no_key_that_reads_or_writes_elsewhere_is_open():
    known = known_options("inversion_free")
    for key, each in known.items():
        text = f"{each.option.typed or ''} {key}"
        path = any(word in text for word in ("FILE", "DIR", "repository", "cache", "packaged"))
        held = not options_of(Settings)[key.partition(".")[0]].data
        if (path or held) and key != "backbone":
            assert closed(each, ()) is not None, key
    free = {key for key, each in known.items() if closed(each, ()) is None}
    assert {"source", "instruction", "steps", "mask", "mask.grow", "mode", "averaging", "box", "backbone"} <= free
    assert len(free) > 50


def test_what_the_owner_allows():
    assert accepted({"runtime": "cpu", "runtime.rows": 2}, "edit", ("runtime",)) == {
        "runtime": "cpu",
        "runtime.rows": 2,
    }
    with pytest.raises(InputError, match=r"--allow runtime\.cache"):
        accepted({"runtime.cache": "x"}, "edit", ("runtime",))
    for key in ("clip", "out"):
        with pytest.raises(InputError, match="the studio chooses it"):
            accepted({key: "x"}, "edit", (key,))
    with pytest.raises(InputError, match=r"--allow backbone\.path"):
        accepted({"backbone.path": "x"}, "edit", ("backbone",))


def test_settings_come_flat_or_in_groups():
    flat = accepted(HAPPY | {"frames": None}, "edit", ())
    assert flat == HAPPY
    nested = {**{k: v for k, v in HAPPY.items() if "." not in k}, "mask": {"grow": 0.1}, "mode": {"name": "inversion"}}
    assert accepted(nested, "edit", ()) == HAPPY


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "$x", "a=b", "[1,2]", "{a: 1}", "'x'", "a\nb", ["${x}"], [[1]], "x" * 300, [1] * 2000]
)
def test_no_value_reaches_the_grammar_of_overrides(value):
    for key in ("steps", "mask.threshold", "mode.solver", "cuts"):
        with pytest.raises(InputError, match="is not a number, true, false, a name"):
            accepted({"mode": "inversion", key: value}, "edit", ())


def test_a_comparison_has_modes_and_an_edit_has_none():
    assert accepted({"modes": ["inversion"], "evaluations": 9}, "compare", ()) == {
        "modes": ["inversion"],
        "evaluations": 9,
    }
    for bad in ({"modes": "all"}, {"modes": []}, {"modes": ["mode=x"]}, {"evaluations": "x"}, {"evaluations": True}):
        with pytest.raises(InputError):
            accepted(bad, "compare", ())
    with pytest.raises(InputError, match="unknown key 'modes'"):
        accepted({"modes": ["inversion"]}, "edit", ())


def test_a_mask_is_numbers_alone():
    stroke = {"frame": 3, "erase": True, "radius": 0.05, "points": [[0.1, 0.2], [0.3, 1.0]]}
    box = {"frame": 0, "x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
    good = {"quantile": 0.5, "grow": None, "strokes": [stroke], "boxes": [box]}
    assert check_adjust(good) == good
    assert check_mask({"look": "a", **good}) == {"look": "a", **good}
    assert check_adjust({"strokes": [stroke]}, 4)["strokes"] == [stroke]
    with pytest.raises(InputError, match="a stroke on frame 3: the clip has 3"):
        check_adjust({"strokes": [stroke]}, 3)
    for bad in (
        {"quantile": 1.0}, {"quantile": 1}, {"grow": 1.1},
        [], {"more": 1}, {"quantile": "0.5"}, {"quantile": True}, {"grow": float("nan")}, {"strokes": {"a": 1}},
        {"strokes": [{}]}, {"strokes": [stroke | {"frame": 1.5}]}, {"strokes": [stroke | {"points": [[1]]}]},
        {"strokes": [stroke | {"points": [["a", 1]]}]}, {"strokes": [stroke] * 501}, {"boxes": [box | {"x": 9}]},
        {"strokes": [stroke | {"radius": float("inf")}]},
    ):  # fmt: skip
        with pytest.raises(InputError):
            check_adjust(bad)


def test_records_keep_their_order_and_a_damaged_one_is_passed_over(tmp_path):
    made = [JobRecord(f"{n:032x}", n, "edit", None, "0" * 32, HAPPY, None, 1.0) for n in (2, 10, 1)]
    for record in made:
        write_record(tmp_path, record)
    (tmp_path / "x.json").write_text("{")
    (tmp_path / "y.json").write_text('{"id": "y"}')
    assert [record.number for record in read_records(tmp_path)] == [1, 2, 10]
    assert made[0] in read_records(tmp_path)


def test_a_command_is_quoted():
    record = JobRecord(
        "", 1, "edit", None, "", {"target": "it's; rm -rf $HOME", "cuts": [3, 7]}, {"quantile": 0.5}, 0.0
    )
    assert command_of(record, "a b.mp4") == (
        "flowedit edit 'a b.mp4' --target 'it'\"'\"'s; rm -rf $HOME' --cuts 3,7 "
        "mask.quantile=0.5 mask.threshold=quantile mask.level=1.0"
    )


def test_progress_goes_forward_and_ends_early_when_asked():
    live, seen = Live(shots=2), []
    for name, total in (("find cuts", 2), ("encode", 4), ("edit", 3), ("edit", 3), ("decode, write", 5)):
        live.phase(name, total)
        for _ in range(total):
            live.advance()
            seen.append(live.plain()["fraction"])
    assert seen == sorted(seen)
    assert (seen[0] > 0, seen[-1]) == (True, 1.0)
    live.stop()
    with pytest.raises(Cancelled):
        live.advance()
    other = Live()
    other.step(None)
    other.stop()
    assert other.step(None) is True
    other.advance()
    other.close()
    with pytest.raises(KeyboardInterrupt):
        other.advance()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"host": "0.0.0.0"}, "give a --password"),
        ({"host": "1.2.3.4"}, "no address of this machine: leave it out, .* or give --host 0.0.0.0"),
        ({"host": "no.such.host.invalid", "password": "a"}, "no address of this machine"),
        ({"port": "x"}, "port 'x' is not a whole number"),
        ({"port": "99999"}, "port 99999 is out of range"),
        ({"queue": "0"}, "queue 0 is out of range"),
    ],
)
def test_flags_of_the_studio_are_checked(flags, says):
    with pytest.raises(InputError, match=says):
        studio_options(flags)


def test_every_flag_of_the_studio_is_read():
    given = {
        "host": "::1", "port": "1", "out": "x", "password": "12", "backbone": "y", "caption": "z",
        "allow": "runtime,save", "upload_limit": "3", "longest": "4", "queue": "5",
        "evaluations": "6", "keep_days": "8", "open": False,
    }  # fmt: skip
    made, usual = studio_options(given), studio_options()
    assert {*given, "password_file"} == {each.name for each in fields(StudioOptions)}
    assert all(getattr(made, name) != getattr(usual, name) for name in given)
    assert (made.allow, made.password, made.most_bytes, made.local) == (("runtime", "save"), "12", 3 << 20, True)


def test_a_password_comes_from_a_flag_a_file_or_the_environment(tmp_path, monkeypatch):
    file, empty = tmp_path / "password", tmp_path / "empty"
    file.write_text(" söhne: 12 \nmore\n", encoding="utf-8")
    empty.write_text("\n")
    monkeypatch.delenv("FLOWEDIT_PASSWORD", raising=False)
    assert studio_options().password is None
    monkeypatch.setenv("FLOWEDIT_PASSWORD", "kept")
    assert studio_options({"host": "0.0.0.0"}).password == "kept"
    assert studio_options({"password": "typed"}).password == "typed"
    assert studio_options({"host": "0.0.0.0", "password_file": str(file)}).password == "söhne: 12"
    for flags, says in (
        ({"password": "typed", "password_file": str(file)}, "two passwords"),
        ({"password_file": str(empty)}, "has no password"),
        ({"password_file": str(tmp_path / "away")}, "cannot be read"),
    ):
        with pytest.raises(Error, match=says):
            studio_options(flags)


class Wire:
    """A request whose body comes in pieces of any size."""

    def __init__(self, body, piece):
        self.headers = {"content-type": "multipart/form-data; boundary=B"}
        self._pieces = [body[i : i + piece] for i in range(0, len(body), piece)]

    async def stream(self):
        for piece in self._pieces:
            yield piece

    async def receive(self):
        return {"more_body": False}


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_form_is_the_same_in_whatever_pieces_it_comes(tmp_path, piece):
    data = bytes(range(256)) * 3 + b"\r\n--B--\r\nx"[:-3]
    body = (
        b'--B\r\nContent-Disposition: form-data; name="settings"\r\n\r\n{"a": "\xc3\xa4"}\r\n'
        b'--B\r\nContent-Disposition: form-data; name="clip"; filename="../x.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
        + data[:700] + b"\r\n--B--\r\n"
    )  # fmt: skip

    async def read(most):
        async with received(Wire(body, piece), tmp_path, most, lambda: TooMuchError("too large")) as form:
            path, name = form.files["clip"]
            assert path.read_bytes() == data[:700]
            return form.texts, name, path.is_relative_to(tmp_path)

    assert asyncio.run(read(700)) == ({"settings": '{"a": "ä"}'}, "../x.mp4", True)
    with pytest.raises(TooMuchError):
        asyncio.run(read(699))
    assert not list(tmp_path.iterdir())
