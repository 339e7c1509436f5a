"""What a studio is not brought to, whatever is asked of it: endless jobs, jobs that end it, things gone under a job."""

import asyncio
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from studio import FOX, SMALL, until

import flowedit
from flowedit.app.desk import submission
from flowedit.app.desk.studio import Studio
from flowedit.app.http.routes import add_routes
from flowedit.app.jobs import JobRecord, read_records, write_record
from flowedit.app.limits import FullError, NotNowError, TooMuchError, UnknownError
from flowedit.app.options import studio_options
from flowedit.messages import InputError


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    made = Studio(studio_options({"out": str(tmp_path_factory.mktemp("bounds"))}))
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def clip(studio):
    return studio.add_clip(FOX, "fox.mp4", "me")


@pytest.fixture
def at_once(monkeypatch):
    """Edits end as soon as they begin."""
    monkeypatch.setitem(flowedit.app.jobs.WORK, "edit", lambda *_: {"state": "done", "notices": []})


@pytest.mark.parametrize(
    ("kind", "keys", "says"),
    [
        ("edit", {"draws": 10**30}, "draws is too large a number"),
        ("edit", {"seed": 2**63}, "seed is too large a number"),
        ("edit", {"draws": 10**15}, "network evaluations"),
        ("edit", {"steps": 1000, "draws": 20}, "20,000 are the most here"),
        ("edit", {"steps": 400, "frames": None, "size": "8000x8000"}, "--evaluations"),
        ("look", {"draws": 10**15}, "network evaluations"),
        ("compare", {"evaluations": 10**15}, "methods"),
        ("compare", {"draws": 10**6, "modes": ["inversion_free"]}, "network evaluations"),
    ],
)
def test_an_endless_job_is_refused_when_it_is_asked_for(studio, clip, kind, keys, says):
    with pytest.raises(InputError, match=says):
        studio.submit(kind, clip.id, SMALL | keys, "me")
    assert studio.jobs("me") == []


def test_the_largest_seed_is_taken(studio, clip, at_once):
    id = studio.submit("edit", clip.id, SMALL | {"seed": 2**63 - 1}, "me")
    assert until(studio, id)["state"] == "done"


def test_a_job_that_ends_the_server_is_begun_three_times_and_one_that_was_stopped_not_again(tmp_path, at_once):
    studio = Studio(studio_options({"out": str(tmp_path)}))
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    folder = studio.root / "jobs"
    folder.mkdir()
    record = JobRecord("0" * 32, 1, "edit", "me", clip.id, SMALL, None, 1.0)
    ids = {how: f"{number:032x}" for number, how in enumerate(("thrice", "twice", "stopped"), 1)}
    write_record(folder, replace(record, id=ids["thrice"], starts=3))
    write_record(folder, replace(record, id=ids["twice"], number=2, starts=2))
    write_record(folder, replace(record, id=ids["stopped"], number=3, starts=1, stop=True))
    studio.start()
    try:
        assert until(studio, ids["twice"])["state"] == "done"
        assert [each.starts for each in read_records(folder)] == [3, 3, 1], "each start is on disk"
        assert studio.status(ids["stopped"])["state"] == "stopped"
        failed = studio.status(ids["thrice"])
        assert (failed["state"], failed["message"][:31]) == ("failed", "it ended the server three times")
    finally:
        studio.close()


def test_a_step_that_does_not_end_does_not_hold_the_server(tmp_path, monkeypatch):
    begun, go = threading.Event(), threading.Event()

    def endless(order, folder, monitor, shelf):
        begun.set()
        go.wait(60)
        monitor.advance()

    monkeypatch.setitem(flowedit.app.jobs.WORK, "edit", endless)
    monkeypatch.setattr("flowedit.app.worker.END", 0.01)
    studio = Studio(studio_options({"out": str(tmp_path)}))
    studio.start()
    id = studio.submit("edit", studio.add_clip(FOX, "fox.mp4", "me").id, SMALL, "me")
    assert begun.wait(60)
    worker = next(
        thread for thread in threading.enumerate() if thread.name == "queue" and thread is studio._queue._thread
    )
    studio.close()
    assert worker.is_alive()
    assert not go.is_set()
    (record,) = read_records(studio.root / "jobs")
    assert (record.id, record.starts) == (id, 0), "a server that is ended in order is not the job's doing"
    go.set()
    worker.join(60)
    assert not worker.is_alive()


def test_what_a_waiting_edit_needs_is_not_deleted_under_it(studio, monkeypatch):
    begun, go = threading.Event(), threading.Event()

    def held(order, folder, monitor, shelf):
        begun.set()
        assert go.wait(60)
        return {"state": "done", "notices": []}

    monkeypatch.setitem(flowedit.app.jobs.WORK, "edit", held)
    monkeypatch.setitem(flowedit.app.jobs.WORK, "look", lambda *_: {"state": "done", "frames": 1, "notices": []})
    clip = studio.add_clip(FOX, "fox.mp4", "you")
    look, other = (studio.submit("look", clip.id, SMALL, "you") for _ in range(2))
    until(studio, other)
    first = studio.submit("edit", clip.id, SMALL, "you")
    assert begun.wait(60)
    edit = studio.submit("edit", clip.id, SMALL, "you", {"look": look, "quantile": 0.5})
    with pytest.raises(NotNowError, match="an edit still needs this look"):
        studio.delete(look, "me")
    with pytest.raises(NotNowError, match="a job still needs this clip"):
        studio.delete_clip(clip.id, "me")
    studio.delete(other, "me")
    check = submission.check

    def meanwhile(*asked):  # between the check of a mask and its place in the queue
        check(*asked)
        studio.stop(edit, "me")
        studio.delete(look, "me")

    monkeypatch.setattr(submission, "check", meanwhile)
    with pytest.raises(UnknownError, match="no job is called"):
        studio.submit("edit", clip.id, SMALL, "you", {"look": look, "quantile": 0.5})
    go.set()
    until(studio, first)
    studio.delete_clip(clip.id, "me")
    with pytest.raises(UnknownError):
        studio.clip(clip.id)


def test_a_mask_is_of_the_look_that_it_came_from(studio, monkeypatch, at_once):
    monkeypatch.setitem(flowedit.app.jobs.WORK, "look", lambda *_: {"state": "done", "frames": 2, "notices": []})
    asked = SMALL | {"frames": 2}
    clip, other = (studio.add_clip(FOX, name, "you") for name in ("a.mp4", "b.mp4"))
    look = studio.submit("look", clip.id, asked, "you")
    until(studio, look)
    box = {"frame": 1, "x": 0.0, "y": 0.0, "width": 0.2, "height": 0.2}
    for mask in ({"look": look, "quantile": 0.5}, {"look": look, "boxes": [box]}):
        good = {"seed": 5, "steps": 3, "cuts": "auto", "mask.grow": 0.1}
        until(studio, studio.submit("edit", clip.id, asked | good, "you", mask))
        for key, value in {
            "frames": 3, "start": 1, "fps": 4, "cuts": "none", "source": "a fox on grass", "target": "a panda on grass",
            "source_words": "grass", "target_words": "grass",
        }.items():  # fmt: skip
            with pytest.raises(InputError, match="look at the mask again"):
                studio.submit("edit", clip.id, asked | {key: value}, "you", mask)
        with pytest.raises(InputError, match="look at the mask again"):
            studio.submit("edit", other.id, asked, "you", mask)
    for mask in ({"boxes": [box | {"frame": 2}]}, {"look": look, "boxes": [box | {"frame": 2}]}):
        with pytest.raises(InputError, match="a box on frame 2: the clip has 2"):
            studio.submit("edit", clip.id, asked, "you", mask)


def test_a_player_that_is_made_while_its_job_is_deleted_leaves_nothing(studio, clip, monkeypatch):
    id = studio.submit("edit", clip.id, SMALL, "me")
    assert until(studio, id)["state"] == "done"
    write = flowedit.app.films.write_player

    def slow(folder, path, source):
        write(folder, path, source)
        film = path.read_bytes()
        studio.delete(id, "me")
        assert not path.exists()
        path.parent.mkdir()  # as its writer would
        path.write_bytes(film)

    monkeypatch.setattr("flowedit.app.films.write_player", slow)
    with pytest.raises(UnknownError, match="the job was deleted"):
        studio.make_file(id, "player.mp4")
    assert not list(studio.out.rglob(f"*{id}*"))


def test_one_owner_of_many_has_half_of_the_queue(tmp_path):
    options = {"out": str(tmp_path), "host": "0.0.0.0", "password": "a", "queue": 4}
    studio = Studio(studio_options(options))  # no worker: what is asked for waits
    (studio.root / "jobs").mkdir(parents=True)
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    for _ in range(2):
        studio.submit("edit", clip.id, SMALL, "me")
    with pytest.raises(FullError, match="2 jobs of yours wait already, and others need room"):
        studio.submit("edit", clip.id, SMALL, "me")
    for _ in range(2):
        studio.submit("edit", clip.id, SMALL, "you")
    with pytest.raises(FullError, match="4 jobs wait already"):
        studio.submit("edit", clip.id, SMALL, "a third")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_who_made_it_alone_stops_and_deletes_where_others_come(tmp_path, host):
    studio = Studio(studio_options({"out": str(tmp_path), "host": host, "password": "a"}))
    (studio.root / "jobs").mkdir(parents=True)
    clip = studio.add_clip(FOX, "fox.mp4", "me")
    job = studio.submit("edit", clip.id, SMALL, "me")
    if host != "127.0.0.1":
        for other in ("you", None):
            for act, id in ((studio.stop, job), (studio.delete, job), (studio.delete_clip, clip.id)):
                with pytest.raises(UnknownError, match=f"of yours is called '{id}'"):
                    act(id, other)
        assert studio.status(job)["state"] == "queued"
    who = "me" if host != "127.0.0.1" else "you"
    studio.stop(job, who)
    assert studio.status(job)["state"] == "stopped"
    studio.delete(job, who)
    studio.delete_clip(clip.id, who)
    with pytest.raises(UnknownError):
        studio.clip(clip.id)


def test_what_no_job_needs_goes_after_a_week_and_what_was_half_written_at_once(tmp_path, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    studio = Studio(studio_options({"out": str(tmp_path)}))
    (studio.root / "jobs").mkdir(parents=True)
    old, used, masking = (studio.add_clip(FOX, name, "me").id for name in ("old.mp4", "used.mp4", "mask.mp4"))
    now[0] += 6 * 86400
    young = studio.add_clip(FOX, "young.mp4", "me").id
    ids = [f"{number:032x}" for number in range(4)]
    look = JobRecord(ids[0], 1, "look", "me", old, SMALL, None, 1e9, stop=True)
    edit = JobRecord(ids[2], 3, "edit", "me", used, SMALL, {"look": ids[1], "file": masking}, 1e9, stop=True)
    young_look = replace(look, id=ids[3], clip=young, created=now[0])
    for record in (look, replace(look, id=ids[1], clip=used), edit, young_look):
        write_record(studio.root / "jobs", record)
    for name in ("clips", "jobs", "previews"):
        (studio.root / name / ".half.part").mkdir(parents=True)
    now[0] += 2 * 86400
    studio.start()
    try:
        assert not list(studio.root.glob("*/.half*"))
        assert {clip.id for clip in studio.clips.all()} == {used, masking, young}
        assert {job["id"] for job in studio.jobs("me")} == {ids[1], ids[2], ids[3]}
    finally:
        studio.close()


def test_no_more_pixels_are_decoded_than_there_is_time_for(studio, monkeypatch):
    monkeypatch.setattr("flowedit.app.clips.MOST_PIXELS", 1000)
    monkeypatch.setattr("flowedit.app.clips._show", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(TooMuchError, match=r"^fox.mp4 is \d+ frames of \d+x\d+, more than 1e\+03 pixels: cut it"):
        studio.add_clip(FOX, "fox.mp4", "me")


def test_two_uploads_are_decoded_at_once_and_none_on_a_full_disk(studio, monkeypatch):
    busy, most = [], []

    def add(path, name, owner):
        busy.append(name)
        most.append(len(busy))
        time.sleep(0.05)
        busy.pop()
        raise InputError("no video")

    monkeypatch.setattr(studio, "add_clip", add)
    app = FastAPI()
    add_routes(app, studio)

    @app.middleware("http")
    async def known(request, call_next):
        request.state.owner = "me"
        return await call_next(request)

    async def post(count):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as client:
            calls = [client.post("/api/clips", files={"file": ("a.mp4", b"x")}) for _ in range(count)]
            return await asyncio.wait_for(asyncio.gather(*calls), 60)

    assert {answer.status_code for answer in asyncio.run(post(6))} == {422}
    assert (max(most), len(most)) == (2, 6)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=2**30 - 1))
    (answer,) = asyncio.run(post(1))
    assert (answer.status_code, list(answer.json())) == (507, ["error"])
    assert len(most) == 6
