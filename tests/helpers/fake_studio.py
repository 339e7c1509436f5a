"""A server for the parts of the page: the real modules, a harness page, media with ranges, and an API by script."""

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "flowedit/app/page/static"
HARNESS = ROOT / "tests/app/harness.html"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".mp4": "video/mp4", ".png": "image/png",
         ".jpg": "image/jpeg"}  # fmt: skip

Answer = tuple[int, Any]


class FakeStudio:
    """Answers `/api/...` by `routes`: (method, pattern) -> f(match, body) -> (status, JSON); keeps what was asked.

    The body of a GET is its query. `away` makes it hang up; `pause` is how many seconds it takes for a block of an
    upload.
    """

    def __init__(self, media: Path) -> None:
        self.media, self.away, self.pause = media, False, 0.0
        self.routes: dict[tuple[str, str], Callable[[re.Match[str], bytes], Answer]] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        studio = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def do_GET(self) -> None:
                studio.answer(self, self.path.partition("?")[2].encode())

            def do_POST(self) -> None:
                left, blocks = int(self.headers.get("Content-Length", 0)), []
                while left > 0 and (block := self.rfile.read(min(left, 1 << 16))):
                    blocks.append(block)
                    left -= len(block)
                    time.sleep(studio.pause)
                studio.answer(self, b"".join(blocks))

            do_DELETE = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """One request: a file of the page, a file of media, or what the script says."""
        path = handler.path.split("?")[0]
        if path.startswith("/api/"):
            self.asked.append((handler.command, path, body))
            if self.away:
                handler.close_connection = True
                handler.connection.shutdown(2)
                return
            status, said = self._scripted(handler.command, path, body)
            _send(handler, status, json.dumps(said).encode(), "application/json")
            return
        folder, name = (STATIC, path.removeprefix("/static/parts/")) if path.startswith("/static/parts/") else (
            (HARNESS.parent, path.strip("/")) if path == "/harness.html" else (self.media, path.removeprefix("/media/"))
        )  # fmt: skip
        file = folder / Path(name).name
        if not file.is_file():
            _send(handler, 404, b"nothing here", "text/plain")
            return
        _send_part(handler, file.read_bytes(), KINDS[file.suffix])

    def _scripted(self, method: str, path: str, body: bytes) -> Answer:
        for (verb, pattern), act in self.routes.items():
            if verb == method and (match := re.fullmatch(pattern, path)):
                return act(match, body)
        return 404, {"error": f"nothing at {path}"}

    def bodies(self, method: str, path: str) -> list[dict[str, Any]]:
        """The JSON of all requests so far to `path`."""
        return [json.loads(body) for verb, asked, body in self.asked if (verb, asked) == (method, path)]


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, **headers: str) -> None:
    handler.send_response(status)
    for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.end_headers()
    handler.wfile.write(body)


def _send_part(handler: BaseHTTPRequestHandler, body: bytes, kind: str) -> None:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not asked:
        _send(handler, 200, body, kind, Accept_Ranges="bytes")
        return
    first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
    where = f"bytes {first}-{last}/{len(body)}"
    _send(handler, 206, body[first : last + 1], kind, Accept_Ranges="bytes", Content_Range=where)
