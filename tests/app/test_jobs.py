"""Jobs on disk: what is asked for is done once, whatever happens to the server; the files are the command line's."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from studio import FOX, ROOT, SMALL, Server, refused

import flowedit
from flowedit.cli.main import main
from flowedit.pipeline.api import settings_of

pytestmark = pytest.mark.slow

LONG = {"steps": 400, "strength": 1.0, "frames": None, "size": None}
"""An edit that is stopped long before its end."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("jobs"))
    yield server
    server.close()


def test_files_are_those_of_the_command_line(server, tmp_path, monkeypatch):
    clip = server.clip(name="it's a fox.mp4")
    keys = {"frames": 9, "seed": 3, "mask.grow": 0.1, "mask.threshold": "quantile", "mask.quantile": 0.6}
    job = server.until(server.edit(clip, **keys))
    assert (job["state"], job["fraction"], job["kind"]) == ("done", 1.0, "edit")
    program, *rest = shlex.split(job["command"])
    assert shutil.which(program) is not None, "a fresh shell finds it"
    assert Path(program).stem == "flowedit"
    assert main([*rest, "--out", str(tmp_path / "out")]) == 0
    for name in ("edit.mp4", "mask.mp4", "compare.mp4", "mask_plain.mp4"):
        assert server.client.get(job["files"][name]).content == (tmp_path / "out" / name).read_bytes(), name
    asked = {}
    monkeypatch.setattr(flowedit, "edit", lambda clip, **options: asked.update(options, clip=clip), raising=False)
    exec(job["python"])
    assert settings_of(asked) == settings_of({**SMALL, **keys, "clip": rest[1]})


def test_stop_within_a_step_keeps_what_is_there(server):
    clip = server.clip()
    id, behind = server.edit(clip, **LONG), server.edit(clip)
    running = server.until(id, lambda job: job["phase"] == "edit" and job["done"] >= 2)
    assert running["state"] == "running"
    assert 0 < running["fraction"] < 1
    assert server.job(behind)["state"] == "queued"
    assert server.client.post(f"/api/jobs/{id}/stop").status_code == 200
    stopped = server.until(id)
    assert stopped["state"] == "stopped"
    assert server.client.get(stopped["files"]["edit.mp4"]).status_code == 200
    assert server.until(behind)["state"] == "done", "the next job runs on the model that stays"


def test_stop_before_the_first_step_and_in_the_queue_leaves_nothing(server):
    clip = server.clip()
    first, second = server.edit(clip, **LONG), server.edit(clip)
    server.client.post(f"/api/jobs/{second}/stop")
    assert server.job(second)["state"] == "stopped"
    server.client.post(f"/api/jobs/{first}/stop")
    assert server.until(first)["state"] == "stopped"
    assert server.job(second)["files"] == {}


def test_delete_takes_the_files_and_waits_for_a_running_job(server):
    clip = server.clip(name="gone.mp4")
    running = server.edit(clip, **LONG)
    server.until(running, lambda job: job["state"] == "running")
    answer = server.client.delete(f"/api/jobs/{running}")
    assert answer.status_code == 409
    assert answer.json() == {"error": "the job runs: stop it first, and delete it then"}
    server.client.post(f"/api/jobs/{running}/stop")
    server.until(running)
    done = server.edit(clip)
    assert server.until(done)["state"] == "done"
    assert (server.out / "gone" / done / "edit.mp4").is_file()
    for id in (running, done):
        assert server.client.delete(f"/api/jobs/{id}").status_code == 204
        assert server.client.get(f"/api/jobs/{id}").status_code == 404
    assert not (server.out / "gone").exists()
    assert not list((server.out / ".studio").rglob(f"*{done}*"))


def test_a_compare_job_leaves_its_report(server):
    clip = server.clip()
    job = server.until(server.edit(clip, "compare", modes=["inversion_free", "inversion"]))
    assert job["state"] == "done", job
    page = server.client.get(job["report"])
    assert page.status_code == 200
    assert "inversion" in page.text
    for part in ("connect-src 'none'", "sandbox allow-scripts"):  # no origin of ours: it reads nothing of the studio
        assert part in page.headers["content-security-policy"]
    links = set(re.findall(r'<a href="(?!https:)([^#"]+)"', page.text))
    assert f"/api/clips/{clip['id']}/original" in links
    got = {link: server.client.get(page.url.join(link)) for link in links}
    assert {link: answer.status_code for link, answer in got.items()} == dict.fromkeys(links, 200)
    assert got[f"/api/clips/{clip['id']}/original"].content == FOX.read_bytes()
    base = job["report"].removesuffix("index.html")
    assert server.client.get(f"{base}grid.mp4").status_code == 200
    for name in ("run.yaml", ".jobs/.lock", "../fox.mp4", "%2e%2e/%2e%2e/.studio/jobs", "/etc/passwd"):
        assert server.client.get(base + name).status_code == 404, name
    assert server.client.delete(f"/api/clips/{clip['id']}").status_code == 204
    assert '="../' not in server.client.get(job["report"]).text


def test_a_comparison_keeps_to_a_painted_mask(server):
    """Every method edits where the paint is, and its command and its Python lines name the mask's file."""
    box = {"frame": 0, "x": 0.0, "y": 0.0, "width": 0.3, "height": 0.3}
    id = server.edit(server.clip(name="boxed.mp4"), "compare", {"boxes": [box]}, modes=["inversion_free", "inversion"])
    job = server.until(id)
    assert job["state"] == "done", job
    made = sorted((server.out / "boxed" / id).glob("edits/**/run.yaml"))
    asked = [yaml.safe_load(each.read_text())["settings"] for each in made]
    assert len(asked) == 2, made
    for settings in asked:
        assert settings["user_mask"].endswith("user_mask.mkv")
        assert settings["mask"]["user"] == "replace"
    assert f"--user-mask {asked[0]['user_mask']}" in job["command"]
    assert repr(asked[0]["user_mask"]) in job["python"]


def test_a_stopped_comparison_shows_what_it_has_and_is_listed(server):
    clip = server.clip(name="compared.mp4")
    asked = {"steps": 40, "strength": 1.0, "frames": None, "size": None}
    id = server.edit(clip, "compare", modes=["inversion_free", "random_noise", "inversion"], **asked)
    server.until(id, lambda job: job["phase"] == "edit" and job["done"] >= 1)
    server.client.post(f"/api/jobs/{id}/stop")
    job = server.until(id)
    assert job["state"] == "stopped", job
    page = server.client.get(job["report"])
    assert page.status_code == 200
    assert "inversion_free" in page.text
    listed = server.client.get("/api/history", params={"most": 1}).json()[0]
    assert (listed["id"], listed["state"], listed["name"]) == (id, "stopped", "compared")
    assert listed["methods"] == ["inversion_free", "random_noise", "inversion"]
    assert server.client.get(listed["poster"]).status_code == 200
    early = server.edit(clip, "compare", modes=["inversion_free", "inversion"], **asked)
    server.client.post(f"/api/jobs/{early}/stop")
    assert server.until(early)["files"] == {}
    assert server.client.get("/api/history", params={"most": 1}).json()[0]["id"] == id, (
        "what left nothing is not listed"
    )


def test_a_player_holds_source_edit_and_mask_in_step(server, tmp_path):
    import cv2
    import numpy as np

    from flowedit.media.probe import probe
    from flowedit.media.reader import read

    clip = server.clip()
    job = server.until(server.edit(clip, start=1, frames=5, size=None))
    about = job["player"]
    (tmp_path / "player.mp4").write_bytes(server.client.get(about["url"]).content)
    video = probe(tmp_path / "player.mp4")
    assert about["tiles"] == ["source", "edit", "mask"]
    assert video.size == (3 * about["height"], about["width"])
    assert (video.frames, about["frames"]) == (5, 5)
    tiles = np.split(np.concatenate(list(read(video, range(5)))).astype(int), 3, axis=1)
    source = np.concatenate(list(read(probe(FOX), range(1, 6)))).astype(int)
    assert np.abs(tiles[0] - source).mean() < 3
    assert np.abs(tiles[1] - source).mean() > np.abs(tiles[0] - source).mean()
    assert set(np.unique(np.rint(tiles[2] / 255))) <= {0, 1}
    first = cv2.imdecode(np.frombuffer(server.client.get(about["first"]).content, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(first[..., ::-1].astype(int) - np.concatenate([tile[0] for tile in tiles])).mean() < 4
    part = server.client.get(about["url"], headers={"range": "bytes=10-19"})
    assert (part.status_code, len(part.content)) == (206, 10)


def test_history_is_of_the_owner_and_of_the_command_line(server, tmp_path):
    clip = server.clip(name="mine.mp4")
    mine = server.until(server.edit(clip))["id"]
    by_hand = server.out / "hand" / "one"
    by_hand.mkdir(parents=True)
    for name in ("edit.mp4", "compare.mp4", "run.yaml"):
        (by_hand / name).write_bytes((server.out / "mine" / mine / name).read_bytes())
    shown = {item["id"]: item for item in server.client.get("/api/history").json()}
    assert shown[mine]["said"]["target_words"] == "panda"
    (other,) = [item for item in shown.values() if item["name"] == "mine" and item["id"] != mine]
    told = server.job(other["id"])
    assert told["state"] == "done"
    assert server.client.get(told["player"]["url"]).status_code == 200
    assert server.client.get(other["poster"]).content.startswith(b"\xff\xd8\xff")
    first, *rest = server.client.get("/api/history").json()
    assert server.client.get("/api/history", params={"after": first["id"]}).json() == rest
    assert server.client.get("/api/history", params={"most": 1}).json() == [first]
    refused(server.client.get("/api/history", params={"most": 0}), 422, "most is 0: give 1 to 200")
    refused(server.client.get("/api/history", params={"most": "x"}), 422, "most 'x'", "valid integer")
    refused(server.client.get("/api/history", params={"after": "x"}), 404, "no edit is called 'x'")
    with server.session() as stranger:
        ids = [item["id"] for item in stranger.get("/api/history").json()]
        assert ids == [other["id"]]
        assert stranger.get("/api/jobs").json() == []
        assert stranger.get(f"/api/jobs/{mine}").status_code == 200, "who knows the id may read it"
    assert server.client.delete(f"/api/jobs/{other['id']}").status_code == 204
    assert not by_hand.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_server_goes_on_with_its_queue(tmp_path, how):
    server = Server(tmp_path / "out")
    try:
        clip = server.clip()
        ids = [server.edit(clip, seed=seed) for seed in range(4 if how == signal.SIGKILL else 3)]
        server.until(ids[len(ids) // 3], lambda job: job["place"] == 0 or job["state"] == "done")
        server.kill(how)
        before = {path.name: path.stat().st_mtime_ns for path in (server.out / "fox").iterdir() if path.name in ids}
        assert 1 <= len(before) < len(ids)
        server.start()
        places = [server.job(id)["place"] for id in ids]
        waiting = [place for place in places if place is not None]
        assert waiting == sorted(waiting), "in their order"
        for id in ids:
            assert server.until(id)["state"] == "done"
        made = {
            path.name: path.stat().st_mtime_ns
            for path in (server.out / "fox").iterdir()
            if not path.name.startswith(".")
        }
        assert set(made) == set(ids), "as many results, none twice, nothing else"
        assert {id: made[id] for id in before} == before, "what was done is not done again"
        kept = list((server.out / ".studio" / ".jobs").glob("*/result.json"))
        assert {json.loads(path.read_text())["id"] for path in kept} >= set(ids) - set(before)
        assert len({server.client.get(server.job(id)["files"]["edit.mp4"]).content for id in ids}) == len(ids)
    finally:
        server.close()


def test_two_servers_do_not_share_a_folder(server):
    command = [sys.executable, "-m", "flowedit", "serve", "--out", str(server.out), "--port"]
    command += [server.address.rpartition(":")[2]]  # the port is taken, too, but that is not what is wrong
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    told = f"a studio works in '{server.out}' already: open {server.address}, or start another one with "
    assert done.stderr == f"flowedit: {told}--out DIR --port 0\n"


def test_the_client_of_the_readme(server, tmp_path):
    text = (ROOT / "flowedit" / "app" / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n# file: client.py\n(.*?)```", text, re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 10
    script = script.replace("http://127.0.0.1:7860", server.address).replace('grass", ', 'grass", "steps": 2, ')
    done = subprocess.run(
        [sys.executable, "-c", script.replace('"edit.mp4", "wb"', f"{str(tmp_path / 'e.mp4')!r}, 'wb'")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "e.mp4").stat().st_size > 1000


def test_a_clip_goes_when_no_job_needs_it(server):
    clip = server.clip()
    id = server.edit(clip, **LONG)
    assert server.client.delete(f"/api/clips/{clip['id']}").status_code == 409
    server.client.post(f"/api/jobs/{id}/stop")
    server.until(id)
    done = server.until(server.edit(clip))
    assert server.client.delete(f"/api/clips/{clip['id']}").status_code == 204
    assert server.client.get(f"/api/clips/{clip['id']}").status_code == 404
    assert server.client.get(done["player"]["url"]).status_code == 200, "its source is in compare.mp4 too"


def test_what_a_file_does_not_hold_is_said_by_its_own_name(server):
    clip, mask = server.clip(), server.clip(FOX.with_name("fox_mask.mp4"), "mask.mp4")
    job = server.until(server.edit(clip, mask={"file": mask["id"]}, frames=None))
    file = server.client.get(job["files"]["edit.mp4"]).content
    back = server.client.post("/api/settings", files={"file": ("panda.mp4", file)}).json()
    (notice,) = back["notices"]
    assert notice == "panda.mp4 was made with a user_mask, which it does not hold: give the mask again"
    run = yaml.safe_load(server.client.get(job["files"]["run.yaml"]).content)
    run["settings"]["nothing"] = 1
    back = server.client.post("/api/settings", files={"file": ("old.yaml", yaml.safe_dump(run))}).json()
    assert back["notices"][0] == "old.yaml: left out, unknown here or not for a file to say: 'nothing'"
    assert "user_mask" in back["notices"][1]
    assert "nothing" not in back["settings"]


def test_settings_come_back_from_a_file(server, tmp_path):
    clip = server.clip(name="asked.mp4")
    job = server.until(server.edit(clip, seed=7, **{"mask.grow": 0.2}))
    for name in ("edit.mp4", "run.yaml"):
        file = server.client.get(job["files"][name]).content
        back = server.client.post("/api/settings", files={"file": (f"../{name}", file)})
        assert back.status_code == 200, back.text
        told = back.json()["settings"]
        assert back.json() == {"settings": told, "notices": []}
        for key, value in {"seed": 7, "mask.grow": 0.2, "target": SMALL["target"], "steps": 2}.items():
            assert told[key] == value, (name, told)
        assert not {"out", "clip", "backbone.path", "runtime"} & set(told)
        again = server.until(server.edit(clip, **told))
        assert (
            server.client.get(again["files"]["edit.mp4"]).content == server.client.get(job["files"]["edit.mp4"]).content
        )
    for name, data in (
        ("a.mp4", FOX.read_bytes()),
        ("run.yaml", b"a: [1"),
        ("run.yaml", b"!!python/object:os.system x"),
    ):
        text = refused(server.client.post("/api/settings", files={"file": (name, data)}), 422)
        assert str(server.out) not in text
    by_hand = server.out / "by" / "hand"
    by_hand.mkdir(parents=True)
    for name in ("edit.mp4", "compare.mp4", "run.yaml"):
        (by_hand / name).write_bytes((server.out / "asked" / job["id"] / name).read_bytes())
    of_hand = [item["id"] for item in server.client.get("/api/history").json() if item["clip"] is None]
    (shown,) = [told for told in map(server.job, of_hand) if told["command"] and "--seed 7" in told["command"]]
    assert shown["settings"]["mask.grow"] == 0.2
    assert shown["python"].count("seed=7") == 1
