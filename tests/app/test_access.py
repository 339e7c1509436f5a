"""Who is let in: which names and sites, with which password; and whose cookie is kept."""

import asyncio
import base64

import httpx
import pytest
from studio import Server, refused

from flowedit.app.access import Guard
from flowedit.app.options import studio_options

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("access"))
    yield server
    server.close()


def test_another_host_or_site_is_not_let_in(server):
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[::2]:80", "["):
        refused(server.client.get("/api/jobs", headers={"host": host}), 421, "127.0.0.1 and localhost alone")
    port = httpx.URL(server.address).port
    assert server.client.get("/api/jobs", headers={"host": f"localhost:{port}"}).status_code == 200
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"http://localhost:{port}.evil.example"},
        {"origin": f"http://127.0.0.1:{port + 1}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        refused(server.client.post("/api/jobs", json={}, headers=headers), 403, "another site")
        refused(server.client.delete(f"/api/jobs/{'0' * 32}", headers=headers), 403)
        assert server.client.get("/api/jobs", headers=headers).status_code == 200
    own = {"origin": f"http://127.0.0.1:{port}", "sec-fetch-site": "same-origin"}
    refused(server.client.post("/api/jobs", json={"clip": "x"}, headers=own), 404)


def test_the_cookie_is_the_browsers_alone(server):
    with server.session() as fresh:
        answer = fresh.get("/api/jobs")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "set-cookie" not in fresh.get("/api/jobs").headers
        assert "set-cookie" in server.client.get("/api/jobs", headers={"cookie": "flowedit_owner=../../x"}).headers


def test_every_answer_says_what_it_may_load(server):
    for path in ("/docs", "/api/jobs", "/api/nothing"):
        policy = server.client.get(path).headers["content-security-policy"].split("; ")
        assert "default-src 'none'" in policy
        assert not [each for each in policy if each.startswith("script-src")]
        assert "frame-ancestors 'self'" in policy
    with server.session() as stranger:
        assert "content-security-policy" in stranger.get("/docs", headers={"host": "evil.example"}).headers


def test_another_sites_page_does_not_replace_the_cookie(server):
    part = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    frame = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for headers, given in ((part, False), (frame, False), (link, True)):
        with server.session() as fresh:
            assert ("set-cookie" in fresh.get("/docs", headers=headers).headers) == given, headers
            assert ("flowedit_owner" in fresh.cookies) == given


def test_a_wrong_password_waits_and_a_right_or_missing_one_does_not(monkeypatch):
    waits, statuses = [], []

    async def sleep(seconds):
        waits.append(seconds)

    async def inside(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        statuses.append(message.get("status"))

    def asked(header):
        waits.clear(), statuses.clear()
        headers = [(b"host", b"x"), *([(b"authorization", header.encode())] if header is not None else [])]
        asyncio.run(guard({"type": "http", "method": "GET", "path": "/docs", "headers": headers}, None, send))
        return statuses[0], list(waits)

    monkeypatch.setattr("flowedit.app.access.asyncio.sleep", sleep)
    guard = Guard(inside, studio_options({"host": "0.0.0.0", "password": "söhne: 12"}))
    assert asked(None) == (401, [])
    assert asked("Basic " + base64.b64encode("me:söhne: 12".encode()).decode()) == (200, [])
    for header in ("", "Basic", "Basic %", "Bearer bWU6c8O2aG5lOiAxMg==", "basic " + "A" * 100, "Basic bWU6eA=="):
        assert asked(header) == (401, [1.0]), header


def test_a_page_of_other_machines_asks_for_the_password(tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "flowedit", "serve", "--port", "0", "--host", "0.0.0.0"]
    bare = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert bare.returncode == 1
    assert bare.stderr == (
        "flowedit: --host 0.0.0.0 lets other machines in: give a --password-file FILE or set FLOWEDIT_PASSWORD too\n"
    )
    secret = tmp_path / "secret"
    secret.write_text("söhne: 12\n", encoding="utf-8")
    server = Server(tmp_path, "--host", "0.0.0.0", "--password-file", str(secret))
    try:
        for auth in (None, ("söhne: 12", ""), ("me", "söhne: 1")):
            answer = server.client.get("/api/jobs", auth=auth)
            refused(answer, 401, "the password is wrong or missing")
            assert answer.headers["www-authenticate"].startswith("Basic")
        with server.session(auth=("", "söhne: 12")) as client:
            assert client.get("/api/jobs").status_code == 200
            assert client.get("/api/jobs", headers={"host": "studio.example"}).status_code == 200
            clip = server.clip(client=client)
            job = client.get(f"/api/jobs/{server.edit(clip, client=client)}").json()
            assert str(tmp_path) not in job["command"] + job["python"]
        assert "note: other machines can reach this studio" in server.said()
    finally:
        server.close()
