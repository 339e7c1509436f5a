"""A server that is killed in the middle of something goes on when it starts again, and shows nothing half-written."""

import json
import socket
import time

import httpx
import pytest
from studio import FOX, SMALL, Server

pytestmark = pytest.mark.slow

WHOLE = {"steps": 20, "strength": 1.0, "frames": 5}
"""An edit of a second or two."""

METHODS = ["inversion_free", "random_noise", "inversion"]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("studio") / "out")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def server(studio):
    """The studio, and an owner of this test's own."""
    studio.client = studio.session()
    return studio


def shown(server):
    """All that the server tells of, but for the jobs that still run."""
    return [job for job in server.client.get("/api/history").json() if job["state"] not in ("queued", "running")]


def again(server):
    """The server is killed and starts again, for the same owner."""
    cookie = dict(server.client.cookies)
    server.kill()
    server.start()
    server.client.cookies.update(cookie)


def test_an_edit_that_is_killed_goes_on_and_is_the_same(server):
    clip = server.clip()
    whole = server.until(server.edit(clip, **WHOLE))
    killed = server.edit(clip, **WHOLE)
    server.until(killed, lambda job: job["phase"] == "edit" and job["done"] >= 5)
    again(server)
    assert [job["id"] for job in shown(server)] == [whole["id"]]
    now = server.job(killed)
    assert (now["state"] in ("queued", "running"), now["files"], now["player"]) == (True, {}, None)
    assert server.client.get(f"/api/jobs/{killed}/files/edit.mp4").status_code == 404
    done = server.until(killed)
    assert done["state"] == "done"
    for name in ("edit.mp4", "compare.mp4", "mask.mp4"):
        one, two = (server.client.get(job["files"][name]).content for job in (whole, done))
        assert one == two, name
    assert not [path.name for path in (server.out / "fox").iterdir() if path.name.startswith(".")]


def test_a_comparison_that_is_killed_makes_no_edit_twice(server):
    id = server.edit(server.clip(), "compare", modes=METHODS)
    jobs = server.out / "fox" / id / ".jobs"
    made = wait(lambda: {path: path.stat().st_mtime_ns for path in jobs.glob("[!.]*/result.json")})
    again(server)
    now = server.job(id)
    assert (now["report"], now["files"]) == (None, {}) or now["state"] == "done"
    assert shown(server) == [] or now["state"] == "done"
    done = server.until(id)
    assert (done["state"], done["message"]) == ("done", None)
    page = server.client.get(done["report"]).text
    assert all(method in page for method in METHODS)
    assert {path: path.stat().st_mtime_ns for path in made} == made, "what was done is not done again"


def test_a_comparison_that_is_stopped_by_the_api_keeps_what_it_has(server):
    clip = server.clip()
    early = server.edit(clip, "compare", modes=METHODS, **WHOLE | {"steps": 400})
    late = server.edit(clip, "compare", modes=METHODS, **WHOLE | {"steps": 30})
    server.until(early, lambda job: job["phase"] == "edit")
    assert server.client.post(f"/api/jobs/{early}/stop").status_code == 200
    stopped = server.until(early)
    assert (stopped["state"], stopped["report"]) == ("stopped", None)
    assert not list((server.out / "fox" / early).glob(".jobs/[!.]*/result.json")), "its first edit was not gone on with"
    wait(lambda: list((server.out / "fox" / late).glob(".jobs/[!.]*/result.json")))
    server.client.post(f"/api/jobs/{late}/stop")
    stopped = server.until(late)
    assert stopped["state"] == "stopped"
    assert len(list((server.out / "fox" / late).glob(".jobs/[!.]*/result.json"))) < len(METHODS)
    assert METHODS[0] in server.client.get(stopped["report"]).text
    assert server.until(server.edit(clip))["state"] == "done", "the queue goes on"


def test_an_upload_that_is_cut_or_killed_leaves_nothing(server):
    whole = server.clip()
    clips = server.out / ".studio" / "clips"
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="half.mp4"\r\n\r\n'
    address, half = httpx.URL(server.address), FOX.read_bytes()[:20_000]

    def unfinished():
        return [path.name for path in clips.iterdir() if path.name.startswith(".")]

    def sent():
        """A connection on which the first half of a clip is sent."""
        wire = socket.create_connection((address.host, address.port), 60)
        lines = ("POST /api/clips HTTP/1.1", f"Host: 127.0.0.1:{address.port}", "Content-Length: 90000")
        kind = "Content-Type: multipart/form-data; boundary=B"
        wire.sendall("\r\n".join([*lines, kind, "", ""]).encode() + head + half)
        wait(lambda: sum(path.stat().st_size for path in clips.glob(".*/*")) >= 10_000)
        return wire

    sent().close()  # who sends it goes away
    wait(lambda: not unfinished())
    with sent():
        assert len(unfinished()) == 1
        again(server)
    assert not unfinished(), "a server that was killed sweeps when it starts"
    assert server.client.get(whole["video"]).status_code == 200
    asked = {"kind": "edit", "clip": whole["id"], "settings": SMALL, "mask": None}
    assert server.client.post("/api/jobs", content=json.dumps(asked)).status_code == 202


def wait(look, seconds=120):
    """What `look` finds, once it is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found
