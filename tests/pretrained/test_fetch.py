"""Downloads from a hub on this machine: progress in bytes, stopped within a second, and resumed where they were."""

import hashlib
import json
import re
import threading
import time
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import flowedit
from flowedit.backbones.checkpoint import FILES
from flowedit.backbones.random_weights import save_random

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny"


class Hub(BaseHTTPRequestHandler):
    """Enough of a model hub: facts of one repository, and its files with their ranges, slowly if `pause` is set."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        hub, path = self.server, self.path.partition("?")[0]
        if path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in hub.files.items()]
            body = {"id": NAME, "modelId": NAME, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
            if "/tree/" in path:
                body = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in hub.files.items()
                ]
            return self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"}, head)
        name = path.partition(f"/{NAME}/resolve/{COMMIT}/")[2] or path.partition(f"/{NAME}/resolve/main/")[2]
        if name not in hub.files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, head)
        data, start = hub.files[name], 0
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if not head and (found := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start = int(found[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if not head:
            hub.asked.append((name, start))
        return self.send(206 if start else 200, data[start:], headers, head)

    def send(self, code, body, headers, head):
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        for start in range(0, 0 if head else len(body), 2**16):
            try:
                self.wfile.write(body[start : start + 2**16])
            except OSError:  # whoever asked is gone
                return
            if self.server.pause and len(body) > 2**18:
                time.sleep(self.server.pause)


class Ear:
    def __init__(self):
        self.phases, self.done = [], 0
        self.moved = threading.Event()

    def phase(self, name, total):
        self.phases.append((name, total))
        self.done = 0

    def advance(self, count=1):
        self.done += count
        if self.done > 2**18:
            self.moved.set()

    def notice(self, text):
        pass


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = save_random(tmp_path_factory.mktemp("hub") / "tiny", "2b")
    found = {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    assert max(map(len, found.values())) > 2**19
    return {**found, "picture.bin": b"not asked for" * 100}


@pytest.fixture
def hub(files, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.pause, server.asked = files, 0.0, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_it_tells_its_bytes_stops_at_once_and_goes_on_where_it_was(hub, files, tmp_path):
    wanted = {name: data for name, data in files.items() if any(fnmatch(name, each) for each in FILES)}
    total = sum(map(len, wanted.values()))
    ear, cancel, ended = Ear(), threading.Event(), []
    hub.pause = 0.05

    def run():
        try:
            flowedit.download(NAME, monitor=ear, cancel=cancel)
        except flowedit.Cancelled as error:
            ended.append((time.monotonic(), str(error)))

    thread = threading.Thread(target=run)
    thread.start()
    assert ear.moved.wait(60)
    asked = time.monotonic()
    cancel.set()
    thread.join(20)
    assert ended
    assert ended[0][0] - asked < 5  # a second, on a machine that has one
    assert "it goes on when you ask again" in ended[0][1]
    assert ear.phases == [("download", total)]
    stopped = ear.done
    assert 2**18 < stopped < total
    partial = [path.stat().st_size for path in tmp_path.rglob("*.incomplete")]
    assert len(partial) == 1
    hub.pause, again = 0.0, Ear()
    hub.asked.clear()
    folder = flowedit.download(NAME, monitor=again)
    assert again.done == total
    assert [start for _, start in hub.asked if start] == [size for size in partial if size], "it did not go on"
    assert not list(tmp_path.rglob("*.incomplete"))
    assert {name: (folder / name).read_bytes() for name in wanted} == wanted
    assert not (folder / "picture.bin").exists()
    assert flowedit.load(folder, **{"runtime.device": "cpu"}).backbone.spec.name


@pytest.mark.slow
def test_a_partial_file_of_other_bytes_is_refused_and_begun_anew(hub, files, tmp_path):
    name, data = max(files.items(), key=lambda each: len(each[1]))
    place = tmp_path / "cache" / "models--someone--tiny" / "blobs" / hashlib.sha256(data).hexdigest()
    place.parent.mkdir(parents=True)
    place.with_name(f"{place.name}.flowedit.incomplete").write_bytes(b"other" * 1000)
    with pytest.raises(flowedit.DownloadError, match="is not what the hub has"):
        flowedit.download(NAME)
    assert (flowedit.download(NAME) / name).read_bytes() == data


@pytest.mark.slow
def test_what_cannot_be_had_is_said_in_one_line(hub, monkeypatch):
    with pytest.raises(flowedit.DownloadError, match=r"cannot get someone/else .*goes on where it was"):
        flowedit.download("someone/else")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(flowedit.DownloadError, match="cannot get someone/tiny"):
        flowedit.download(NAME)


@pytest.mark.slow
def test_a_repository_of_pickles_is_not_tried_again_but_converted(hub, files):
    hub.files = {name.replace(".safetensors", ".bin") if "transformer/" in name else name: data
                 for name, data in files.items()}  # fmt: skip
    with pytest.raises(flowedit.DownloadError) as caught:
        flowedit.download(NAME)
    said = str(caught.value)
    assert re.search(
        r"still lacks transformer/\*\.safetensors; pickles are not read: run `hf download someone/tiny", said
    )
    assert "scripts/to_safetensors.py DIR" in said
    assert "again" not in said
    assert "\n" not in said


def test_what_is_here_is_not_downloaded(backbone_2b):
    assert flowedit.download(backbone_2b) == backbone_2b
    assert (flowedit.download("pocket") / "model_index.json").is_file()
    with pytest.raises(flowedit.InputError, match="unknown backbone"):
        flowedit.download("no-such-model")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(flowedit.Cancelled):
        flowedit.download(NAME, cancel=cancel)
