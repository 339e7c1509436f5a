"""The API to those who mean ill, or well and wrongly: every refusal is one line, and nothing is left behind."""

import concurrent.futures
import contextlib
import io
import json
import socket
import time

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from studio import FOX, SMALL, Server, refused

pytestmark = pytest.mark.slow

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("server"),
        "--upload-limit",
        "1",
        "--longest",
        "2",
        "--queue",
        "12",
        "--allow",
        "runtime",
    )
    yield server
    server.close()


def everything(server):
    return {path for path in server.out.rglob("*") if not path.name.startswith(".lock")}


@pytest.mark.parametrize(
    "name",
    [
        "../../x.mp4",
        "/etc/passwd",
        "..\\..\\x.mp4",
        "a\0b.mp4",
        "x" * 3000 + ".mp4",
        "\u72d0\u72f8 🦊 \u202egpj.mp4",
        ".studio",
        "..",
        "",
        "facts.json",
        "-rf.mp4",
        "%2e%2e%2fx.mp4",
        "con\n.mp4",
    ],
)
def test_a_name_never_becomes_a_path(server, name):
    outside = set(server.out.parent.iterdir())
    body = b'--B\r\ncontent-disposition: form-data; name="file"; filename="' + name.encode().replace(b"\n", b"%0A")
    body += b'"\r\n\r\n' + FOX.read_bytes() + b"\r\n--B--\r\n"
    answer = server.client.post("/api/clips", content=body, headers={"content-type": "multipart/form-data; boundary=B"})
    assert answer.status_code == 201, answer.text
    folder = server.out / ".studio" / "clips" / answer.json()["id"]
    files = {path.name for path in folder.iterdir()}
    assert {"facts.json", "video.mp4", "poster.jpg"} < files
    (own,) = files - {"facts.json", "video.mp4", "poster.jpg"}
    assert len(own) < 140
    assert "/" not in own
    assert not own.startswith((".", "-"))
    assert set(server.out.parent.iterdir()) == outside
    assert server.client.get(answer.json()["video"]).status_code == 200


def test_what_is_too_large_is_never_on_disk(server):
    before = everything(server)
    seen = []

    def body():
        yield b'--B\r\ncontent-disposition: form-data; name="file"; filename="big.mp4"\r\n\r\n'
        for part in range(5 << 14):  # of 5 GB; the server breaks it off
            yield bytes(1 << 16)
            if part < 20:
                time.sleep(0.02)
                seen.append(sum(path.stat().st_size for path in everything(server) - before if path.is_file()))

    kind = {"content-type": "multipart/form-data; boundary=B"}
    with contextlib.suppress(httpx.TransportError):  # who goes on sending may hear no more than the end of the line
        refused(server.client.post("/api/clips", content=body(), headers=kind), 413, "larger than 1 MiB")
    assert 0 < max(seen) <= LIMIT
    assert len(seen) == 20
    assert everything(server) == before
    for size in (LIMIT + 1, 4 * LIMIT):
        answer = server.client.post("/api/clips", files={"file": ("big.mp4", bytes(size))})
        refused(answer, 413, "larger than 1 MiB")
    assert everything(server) == before
    address = httpx.URL(server.address)
    with socket.create_connection((address.host, address.port), 60) as wire:  # one that only says how long it is
        lines = ("POST /api/clips HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=B")
        wire.sendall("\r\n".join([*lines, f"Content-Length: {5 << 30}", "", ""]).encode())
        assert wire.recv(100).startswith(b"HTTP/1.1 413")
    refused(server.client.post("/api/jobs", content=b" " * (3 << 20)), 413, "longer than 2 MiB")
    assert everything(server) == before


def picture(kind, size=(40, 30)):
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.mp4", b"", "empty"),
        ("a.mp4", b"<html><script>alert(1)</script>" * 50, "not a video"),
        ("a.mp4", FOX.read_bytes()[:5000], "a.mp4"),
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "not a video"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "not a picture that can be read"),
        ("a.zip", b"PK\x03\x04" + bytes(100), "a.zip"),
    ],
)
def test_what_is_no_video_is_refused_by_its_content(server, name, data, words):
    before = everything(server)
    text = refused(server.client.post("/api/clips", files={"file": (name, data)}), 422, words)
    assert str(server.out) not in text
    assert ".part" not in text
    assert everything(server) == before


def test_a_clip_that_lasts_too_long_is_refused(server, tmp_path):
    from fractions import Fraction

    from flowedit.media.writer import Writer

    with Writer(tmp_path / "long.mp4", (32, 32), Fraction(8)) as writer:
        writer.write(np.zeros((17, 32, 32, 3), np.uint8))
    answer = server.client.post("/api/clips", files={"file": ("long.mp4", (tmp_path / "long.mp4").read_bytes())})
    refused(answer, 413, "long.mp4 lasts 2.1 s", "at most 2 s")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
def test_a_still_image_is_a_clip_of_one_frame(server, kind):
    answer = server.client.post("/api/clips", files={"file": (f"still.{kind}", picture(kind))})
    clip = answer.json()
    assert (clip["width"], clip["height"], clip["frames"], clip["still"]) == (40, 30, 1, True)
    assert clip["scenes"] == [0]


def test_a_photo_is_edited_from_end_to_end_and_shown_upright(server):
    upright = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1))).save(data, "PNG", exif=exif)
    clip = server.client.post("/api/clips", files={"file": ("photo.png", data.getvalue())}).json()
    assert (clip["width"], clip["height"], clip["still"]) == (40, 30, True)
    id = server.edit(clip, strength=0)
    done = server.until(id)
    assert done["state"] == "done", done
    assert {"edit.png", "compare.png", "run.yaml"} <= set(done["files"])
    edit = server.client.get(done["files"]["edit.png"]).content
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(edit))), upright)
    assert (done["player"]["frames"], done["player"]["width"], done["player"]["height"]) == (1, 40, 30)
    assert server.client.get(done["player"]["url"]).content[4:8] == b"ftyp"
    held = server.client.post("/api/settings", files={"file": ("edit.png", edit)}).json()
    assert held["settings"]["source"] == SMALL["source"]
    asked = {"kind": "edit", "clip": clip["id"], "settings": SMALL | {"frames": 9}}
    refused(server.client.post("/api/jobs", json=asked), 422, "frames in the part of your clip: 9", "is a still")


def test_an_animation_is_taken_and_one_of_too_many_pixels_is_not(server):
    first, second = (Image.fromarray(np.full((30, 40, 3), level, np.uint8)) for level in (10, 200))
    data = io.BytesIO()
    first.save(data, "GIF", save_all=True, append_images=[second], duration=100)
    clip = server.client.post("/api/clips", files={"file": ("a.gif", data.getvalue())}).json()
    assert (clip["frames"], clip["still"], clip["fps"]) == (2, False, 10)
    data = io.BytesIO()
    Image.new("1", (9000, 4)).save(data, "PNG")
    answer = server.client.post("/api/clips", files={"file": ("wide.png", data.getvalue())})
    refused(answer, 413, "9000x4", "8192 pixels a side")


def test_a_form_that_is_none_is_refused(server):
    kind = {"content-type": "multipart/form-data; boundary=B"}
    for content, headers in (
        (b"{}", {"content-type": "application/json"}),
        (b"--B--\r\n", kind),
        (b"no form", kind),
        (b'--B\r\ncontent-disposition: form-data; name="other"\r\n\r\nx\r\n--B--\r\n', kind),
    ):
        refused(server.client.post("/api/clips", content=content, headers=headers), 422)
    for data in (b"", b"[]", b"{", b"[" * 10_000, b'{"kind": "edit", "clip": "x", "more": 1}', b"\xff"):
        assert refused(
            server.client.post("/api/jobs", content=data), 404 if b"more" not in data and data == b"x" else 422
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stepz": 2}, "unknown key 'stepz'; did you mean 'steps'?"),
        ({"mask.nothing": 2}, "unknown key 'mask.nothing'"),
        ({"__class__": 1}, "unknown key '__class__'"),
        ({"out": "/tmp/x"}, "out is not set from here"),
        ({"clip": "/etc/passwd"}, "clip is not set from here"),
        ({"user_mask": "/etc/passwd"}, "user_mask is not set from here"),
        ({"caption": "/tmp"}, "caption is not set from here"),
        ({"save": "steps"}, "save is not set from here"),
        ({"log": "wandb_online"}, "log is not set from here"),
        ({"backbone.path": "/tmp"}, "backbone.path is not set from here"),
        ({"backbone.repository": "a/b"}, "backbone.repository is not set from here"),
        ({"backbone": {"name": "pocket", "path": "/tmp"}}, "backbone.path is not set from here"),
        ({"runtime.cache": "/tmp/x"}, "runtime.cache is not set from here"),
        ({"backbone": "/tmp"}, "unknown backbone '/tmp'"),
        ({"backbone": "someone/else"}, "unknown backbone 'someone/else'"),
        ({"backbone": "folder"}, "unknown backbone 'folder'"),
        ({"strength": "${oc.env:HOME}"}, "strength '${oc.env:HOME}' is not a number"),
        ({"mask.grow": ["${oc.env:HOME}"]}, "is not a number"),
        ({"steps": {"a": 1}}, "unknown key 'steps.a'"),
        ({"steps": -1}, "steps -1 is out of range"),
        ({"size": "99999x99999"}, "size '99999x99999'"),
        ({"source": 5}, "source '5' is not a text"),
        ({"source": "x" * 20_000}, "is not a text of at most"),
        ({"source_words": "wolf"}, "wolf"),
        ({f"key{i}": i for i in range(500)}, "at most 300"),
        ([], "settings is not a JSON object"),
    ],
)
def test_settings_are_looked_at_key_by_key(server, settings, words):
    clip = shared_clip(server)
    given = SMALL | settings if isinstance(settings, dict) else settings
    answer = server.client.post("/api/jobs", json={"kind": "edit", "clip": clip["id"], "settings": given})
    refused(answer, 422, words)


def test_what_the_owner_allows_is_taken(server):
    id = server.edit(shared_clip(server), **{"runtime.rows": 1})
    assert server.until(id)["state"] == "done"


CLIPS = {}


def shared_clip(server):
    if "fox" not in CLIPS:
        CLIPS["fox"] = server.clip()
    return CLIPS["fox"]


@pytest.mark.parametrize("id", ["x", "..%2f..%2fetc", "0" * 32, "0" * 31 + "g", "%00", "." * 32])
def test_an_id_of_nothing_is_not_found(server, id):
    for address in (
        f"/api/jobs/{id}",
        f"/api/clips/{id}",
        f"/api/clips/{id}/video.mp4",
        f"/api/jobs/{id}/files/edit.mp4",
    ):
        refused(server.client.get(address), 404)
    refused(server.client.post("/api/jobs", json={"kind": "edit", "clip": id, "settings": SMALL}), 404)
    refused(server.client.post(f"/api/jobs/{'0' * 32}/stop"), 404)
    refused(server.client.delete(f"/api/jobs/{'0' * 32}"), 404)


def test_other_names_of_files_are_not_found(server):
    id = server.edit(shared_clip(server))
    job = server.until(id)
    assert {"edit.mp4", "compare.mp4", "mask.mp4", "mask_plain.mp4", "run.yaml", "poster.jpg"} == set(job["files"])
    for name in ("nothing.mp4", "..%2f..%2f.studio%2fjobs", "edit_steps", "%00", "edit.mp4%00", "C:%5Cx", "row_0.mp4"):
        refused(server.client.get(f"/api/jobs/{id}/files/{name}"), 404)


def test_a_mask_file_says_where(server):
    clip = shared_clip(server)
    mask = server.clip(FOX.with_name("fox_mask.mp4"), "mask.mp4")
    id = server.edit(clip, mask={"file": mask["id"]}, frames=None)
    job = server.until(id)
    assert job["state"] == "done", job
    assert "mask.user=replace" in job["command"]
    for bad, status in (
        ({"file": "0" * 32}, 404),
        ({"look": id}, 409),
        ({"quantile": 7}, 422),
        ({"boxes": [{"frame": -1}]}, 422),
        ({"path": "/etc/passwd"}, 422),
        ("all", 422),
    ):
        asked = {"kind": "edit", "clip": clip["id"], "settings": SMALL, "mask": bad}
        refused(server.client.post("/api/jobs", json=asked), status)


def test_html_in_a_prompt_stays_text(server):
    evil = "<script>alert(1)</script> a panda moves right over green grass"
    job = server.until(server.edit(shared_clip(server), negative_prompt=evil))
    answer = server.client.get(f"/api/jobs/{job['id']}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["settings"]["negative_prompt"] == evil
    error = server.client.get("/api/<script>")
    assert (error.headers["content-type"], error.status_code) == ("application/json", 404)


def test_a_hundred_jobs_at_once(server):
    clip = shared_clip(server)
    blocker = server.edit(clip, steps=400, strength=1.0, frames=None, size=None)
    server.until(blocker, lambda job: job["state"] == "running")
    asked = {"kind": "edit", "clip": clip["id"], "settings": SMALL}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.client.post("/api/jobs", json=asked), range(100)))
    taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert len(taken) == len(set(taken)) == 12
    for answer in answers:
        if answer.status_code != 202:
            refused(answer, 429, "12 jobs wait already")
    files = {"clip": ("fox.mp4", FOX.read_bytes())}
    before = everything(server)
    refused(server.client.post("/api/edits", files=files, data={"settings": json.dumps(SMALL)}), 429)
    assert everything(server) == before, "no clip is kept for a job that is not taken"
    assert sorted(server.job(id)["place"] for id in taken) == list(range(1, 13))
    for id in [*taken, blocker]:
        server.client.post(f"/api/jobs/{id}/stop")
    server.until(blocker)


def test_one_request_for_clip_and_edit(server):
    files = {"clip": ("fox.mp4", FOX.read_bytes()), "mask": ("m.mp4", FOX.with_name("fox_mask.mp4").read_bytes())}
    answer = server.client.post("/api/edits", files=files, data={"settings": json.dumps(SMALL | {"frames": None})})
    assert answer.status_code == 202, answer.text
    assert server.until(answer.json()["id"])["state"] == "done"
    refused(server.client.post("/api/edits", files={"clip": files["clip"]}, data={"settings": "{"}), 422, "settings")


def test_the_api_tells_of_itself_without_another_host(server):
    page = server.client.get("/docs")
    assert page.status_code == 200
    assert "/api/jobs/{id}/stop" in page.text
    assert "://" not in page.text
    schema = server.client.get("/openapi.json").json()
    assert "multipart/form-data" in schema["paths"]["/api/clips"]["post"]["requestBody"]["content"]
    assert server.client.get("/api/limits").json() == {"upload_mib": 1, "longest": 2.0, "queue": 12, "local": True}
    names = {each["name"]: each for each in server.client.get("/api/backbones").json()}
    assert names["pocket"]["downloaded"]
    refused(server.client.post("/api/backbones/x/download"), 422, "unknown backbone")
    refused(server.client.post("/api/backbones/pocket/download"), 422, "nothing to download")
    away = next(name for name, each in names.items() if not each["downloaded"])
    asked = {"kind": "edit", "clip": shared_clip(server)["id"], "settings": SMALL | {"backbone": away}}
    gpu = torch.cuda.is_available()  # without one its download would not help
    refused(server.client.post("/api/jobs", json=asked), *((409, "download it first") if gpu else (422, "no GPU")))


def test_a_word_that_the_model_never_learned_is_refused_when_it_is_asked(server):
    lion = {"source": SMALL["source"], "instruction": "replace the fox with a lion"}
    asked = {"kind": "edit", "clip": shared_clip(server)["id"], "settings": lion}
    said = refused(server.client.post("/api/jobs", json=asked), 422, "pocket does not know 'lion'")
    assert "fox, panda" in said
    many = asked | {"kind": "compare", "settings": lion | {"modes": ["inversion_free", "inversion"]}}
    refused(server.client.post("/api/jobs", json=many), 422, "pocket does not know 'lion'")


def test_every_option_is_told(server):
    told = {each["key"]: each for each in server.client.get("/api/options").json()}
    assert {"source", "strength", "mask.grow", "mode.grid", "averaging", "box", "cuts"} <= set(told)
    assert told["strength"]["default"] == 0.8
    assert told["mode"]["choices"]
    assert told["out"]["closed"]
    assert told["backbone.path"]["closed"]
    assert told["runtime.cache"]["closed"]
    assert [told[key]["closed"] for key in ("source", "mask.grow", "runtime.rows", "backbone")] == [None] * 4
    other = {each["key"] for each in server.client.get("/api/options", params={"mode": "flowopt"}).json()}
    assert other - set(told)
    refused(server.client.get("/api/options", params={"mode": "nothing"}), 422, "unknown mode")
