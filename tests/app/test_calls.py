"""What is sent to Gradio's one open door: no file is read, fetched or copied for it, and nothing of it is repeated."""

import contextlib
import json
import socket
import threading

import httpx
import pytest
from studio import Server, refused

from flowedit.app.desk.studio import Studio
from flowedit.app.http.calls import FAILED, checked
from flowedit.app.options import studio_options
from flowedit.app.server import make_app
from flowedit.messages import InputError

pytestmark = pytest.mark.slow

pytest.importorskip("gradio", reason="the app extra brings gradio")

DOOR = "/gradio_api/run/predict"
META = {"_type": "gradio.FileData"}
SECRET = "secret-4711"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("calls") / "out", "--no-open", command="app")
    yield server
    server.close()


@pytest.fixture(scope="module")
def ways(server):
    """Numbers of handlers, by the kinds of what each is given."""
    config = server.client.get("/config").json()
    kinds = {each["id"]: each["type"] for each in config["components"]}
    found = config["dependencies"]
    return {tuple(kinds[id] for id in each["inputs"]): each["id"] for each in found if each["backend_fn"]}


@pytest.fixture
def listener():
    """A socket of this machine, and who came to it."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            with contextlib.suppress(OSError):
                while True:
                    came.append(server.accept()[0].close())

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.png", came
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def call(number, *data, **more):
    return {"data": list(data), "event_data": None, "fn_index": number, "trigger_id": None, "session_hash": "a1"} | more


def send(server, body, path=DOOR, **options):
    return server.client.post(path, json=body, timeout=30, **options)


def copies(server):
    folder = server.out / ".studio" / "gradio"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_call_of_the_page_goes_through(server, ways):
    answer = send(server, call(ways["json",], None))
    assert answer.status_code == 200, answer.text
    assert "fox.mp4" in answer.text
    for other in ("é \x00", {"note": {"url": "/x"}}, 1e300):
        assert send(server, call(ways["json",], {"drop": None, "other": other})).status_code == 200


@pytest.mark.parametrize("path", [DOOR, f"{DOOR}/"])
@pytest.mark.parametrize(
    "around",
    [
        lambda file: file,
        lambda file: [[0, file]],
        lambda file: {"drop": {"clip": [{"a": file}]}},
        lambda file: {"value": file},
        lambda file: {"drop": None, "path": 5, "inner": file},
    ],
)
def test_a_call_that_names_a_file_is_refused_before_it_is_touched(server, ways, listener, around, path):
    url, came = listener
    for file in (
        {"path": "/etc/passwd", "meta": META},
        {"path": "/dev/zero", "meta": META},
        {"path": url, "meta": META},
        {"path": "x", "url": url, "meta": META},
        {"path": "/etc/passwd", "meta": {**META, "more": 1}, "is_stream": True},
        {"path": "/etc/passwd", "meta": []},
        {"path": "/etc/passwd"},
        {"url": url, "meta": META},
    ):
        refused(send(server, call(ways["json",], around(file)), path), 422, "names a file")
        refused(send(server, call(ways["json",], None, event_data=around(file)), path), 422, "names a file")
    assert came == []
    assert copies(server) == []


def test_what_is_read_is_what_was_looked_at(server, ways):
    text = json.dumps(call(ways["json",], None))
    file = '{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}'
    twice = text.replace('"data": [null]', f'"data": [{file}], "data": [null]')
    assert file in twice
    kind = {"content-type": "application/json"}
    assert server.client.post(DOOR, content=twice, headers=kind, timeout=30).status_code == 200
    hidden = text.replace("null", file.replace("path", "\\u0070ath"), 1)
    refused(server.client.post(DOOR, content=hidden, headers=kind, timeout=30), 422, "names a file")
    inner = call(ways["json",], {"drop": None, "other": file})  # a text stays one
    assert send(server, inner).status_code == 200
    assert copies(server) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        json.dumps(call(0, oauth_token="x")).encode(),
        json.dumps(call(0, event_id="x")).encode(),
        json.dumps(call("0")).encode(),
        json.dumps(call(0, session_hash="../x")).encode(),
        json.dumps(call(0, data={})).encode(),
    ],
)
def test_what_is_no_call_is_refused(body):
    with pytest.raises(InputError):
        checked(body)


def test_a_call_that_is_nested_deep_is_refused():
    deep = []
    for _ in range(60):
        deep = [deep]
    with pytest.raises(InputError, match="more than 50 deep"):
        checked(json.dumps(call(0, deep)).encode())


def test_a_long_call_is_broken_off_while_it_comes(server, ways):
    sent = []

    def body():
        yield b'{"data": ["'
        for _ in range(5 << 14):  # 5 GB
            sent.append(1)
            yield b"x" * (1 << 16)

    with contextlib.suppress(httpx.TransportError):
        refused(server.client.post(DOOR, content=body(), timeout=60), 413, "longer than 2 MiB")
    assert 32 <= len(sent) < 5000
    refused(send(server, call(ways["json",], "x" * (3 << 20))), 413, "longer than 2 MiB")


def test_an_error_repeats_nothing_that_was_sent(server, ways):
    most = max(ways, key=len)
    for body in (
        call(ways["radio",], SECRET),  # not one of its choices
        call(ways["json",], SECRET),
        call(ways[most], SECRET),  # too few
        call(ways["json",], {"models": {"chosen": SECRET}}),
        call(471100815, None),
    ):
        answer = send(server, body)
        assert answer.status_code >= 400
        assert answer.json() == {"error": FAILED}
    refused(send(server, call(0, oauth_token=SECRET)), 422, "no call of the page")
    said = server.said()
    assert "Traceback of a call of the page, AttributeError" in said
    assert "handlers.py" in said
    assert SECRET not in said
    assert "471100815" not in said


def test_gradio_keeps_its_files_in_the_hidden_folder(tmp_path, monkeypatch):
    import gradio.utils

    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    studio = Studio(studio_options({"out": str(tmp_path)}))
    make_app(studio, page=True)
    assert gradio.utils.get_upload_folder() == str(studio.root / "gradio")
