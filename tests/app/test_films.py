"""What is made to be shown of an edit: once, few at a time, and nobody else waits for it."""

import asyncio
import shutil
import threading
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from flowedit.app import films
from flowedit.app.clips import SHOWN, Clips
from flowedit.app.desk.studio import Studio
from flowedit.app.history import History
from flowedit.app.http.routes import add_routes
from flowedit.app.options import studio_options

WAITING = 60
"""More than the server's pool has threads."""


@pytest.mark.parametrize(
    ("name", "maker", "most"),
    [("player.mp4", "write_player", 1), ("first.jpg", "_stacked", 2), ("poster.jpg", "write_poster", 2)],
)
def test_who_waits_for_a_film_holds_no_thread(tmp_path, monkeypatch, name, maker, most):
    edits = []
    for number in range(WAITING // 2):  # two ask for each
        folder = tmp_path / f"clip{number}" / "1"
        folder.mkdir(parents=True)
        (folder / "run.yaml").write_text("settings: {target: a panda}\n")
        (folder / "edit.mp4").touch()
        edits.append(folder)
    studio = Studio(studio_options({"out": str(tmp_path)}))
    history = History(tmp_path, ".studio")
    ids = [item["id"] for item in history.page({}, dict, (), "", WAITING)]
    assert len(ids) == len(edits)
    go, counting, running, seen, made = threading.Event(), threading.Lock(), set(), [], []

    def slow(*asked):
        """In place of each that decodes: what it is given differs, what it leaves need not be a film."""
        with counting:
            running.add(threading.get_ident())
            seen.append(len(running))
        assert go.wait(60)
        with counting:
            running.discard(threading.get_ident())
            made.append(asked)
        if maker == "write_player":
            asked[1].write_bytes(b"film")
        elif maker == "write_poster":
            asked[0].write_bytes(b"picture")
        return iter([[b"frame"]])

    monkeypatch.setattr(films, maker, slow)
    monkeypatch.setattr(films, "probe", lambda path: path)
    monkeypatch.setattr(films, "read", lambda video, places: iter([["frame"]]))
    monkeypatch.setattr(films, "jpeg", lambda frame: frame)
    app = FastAPI()
    add_routes(app, studio)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as client:
            waiting = [asyncio.create_task(client.get(f"/api/jobs/{id}/files/{name}")) for id in ids * 2]
            try:
                while not seen:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)  # the others come, too
                limits = await asyncio.wait_for(client.get("/api/limits"), 20)
            finally:
                go.set()
            return limits, await asyncio.wait_for(asyncio.gather(*waiting), 60)

    limits, answers = asyncio.run(ask())
    assert limits.status_code == 200
    assert {answer.status_code for answer in answers} == {200}
    assert max(seen) <= most
    if name == "player.mp4":  # each once, though two asked
        assert len(made) == len(ids)


UNEVEN = Path(__file__).parents[1] / "data" / "cases" / "vfr_drop.mp4"


def times_of(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_what_is_shown_of_an_uneven_clip_has_its_times(tmp_path):
    """Its sound is in step then, and the page knows when each frame is shown."""
    times = np.array(times_of(UNEVEN)) - times_of(UNEVEN)[0]
    assert len(set(np.rint(1000 * np.diff(times)))) > 1
    folder = tmp_path / "clip" / "1"
    folder.mkdir(parents=True)
    shutil.copy(UNEVEN, folder / "edit.mp4")
    (folder / "run.yaml").write_text("settings: {start: 0, frames: null, fps: null}\n")
    films.make(folder, "player.mp4", tmp_path / "shown", UNEVEN)
    kept = Clips(tmp_path / "clips", studio_options({})).add("c" * 32, UNEVEN, "a.mp4", None)
    told = kept.plain(), films.left(folder, "/x")["player"]
    files = tmp_path / "clips" / kept.id / SHOWN, tmp_path / "shown" / "player.mp4"
    for about, path in zip(told, files, strict=True):
        np.testing.assert_allclose(times_of(path), times, atol=1e-3)
        np.testing.assert_allclose(about["times"][:-1], times, atol=1e-3)
        assert len(about["times"]) == about["frames"] + 1
