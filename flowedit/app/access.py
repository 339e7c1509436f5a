"""Who is let in: the host's name, the origin of what writes, a password, and a cookie that says whose a job is."""

import asyncio
import base64
import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from flowedit.app.options import LOCAL, StudioOptions

COOKIE = "flowedit_owner"
PAUSE = 1.0
"""Seconds that a wrong password waits for its answer."""

YEAR = 365 * 24 * 3600
READS = ("GET", "HEAD", "OPTIONS")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = b"content-security-policy"

OF_PAGE = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
    b"base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""What the page may load, and whom it may ask: this server alone. Gradio has scripts in its page, and makes functions
of texts."""

OF_OTHERS = (
    b"default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; form-action 'none'; "
    b"base-uri 'none'; frame-ancestors 'self'"
)
"""The same of every other answer that has no policy of its own: no scripts."""

DOORS = ("/gradio_api/run/predict", "/gradio_api/app_id")
"""All that the page asks of Gradio's own API (app_id: whether the server is back); uploads, files, streams and what it
says of itself stay shut."""

SHUT = ("/gradio_api", "/monitoring", "/login", "/logout")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every answer: a file is what it says, no other site shows us in a frame or takes our pictures."""


class Guard:
    """Middleware: refuses what comes by another name, from another site or without the password; names the owner."""

    def __init__(self, app: App, options: StudioOptions) -> None:
        self._app, self._local = app, options.local
        self._wrong = asyncio.Semaphore(1)
        self._password = None if options.password is None else options.password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if (refused := self._refusal(scope, headers)) is not None:
            if refused[0] == 401 and "authorization" in headers:
                await self._pause()
            await _answer(scope, send, *refused)
            return
        owner = owner_of(headers.get("cookie", ""))
        fresh = owner is None and not _from_elsewhere(headers)
        owner = owner or secrets.token_hex(16)
        scope.setdefault("state", {})["owner"] = owner

        headings = (*HEADERS, (POLICY, OF_PAGE if scope["path"] == "/" else OF_OTHERS))

        async def told(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                extra = [pair for pair in headings if pair[0] not in {name for name, _ in message["headers"]}]
                if fresh:
                    cookie = f"{COOKIE}={owner}; Max-Age={YEAR}; Path=/; HttpOnly; SameSite=Lax"
                    extra.append((b"set-cookie", cookie.encode()))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self._app(scope, receive, told)

    async def _pause(self) -> None:
        """Let wrong passwords wait in one line, a second each; who knows the right one does not wait."""
        async with self._wrong:
            await asyncio.sleep(PAUSE)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """The status and the line for what is not let in."""
        host = headers.get("host", "")
        if self._local and _name(host) not in LOCAL:
            return 421, f"this studio answers to 127.0.0.1 and localhost alone, not to {host[:80]!r}"
        writes = scope["type"] == "websocket" or scope["method"] not in READS
        if writes and not _same_site(host, headers):
            return 403, "this was sent by another site: open the studio's own page"
        if self._password is not None and not _knows(headers.get("authorization", ""), self._password):
            return 401, "the password is wrong or missing: any name, and the password that the studio was started with"
        path = scope["path"].rstrip("/")
        if path.startswith(SHUT) and path not in DOORS:
            return 404, f"nothing is at {path[:200]}: /docs lists what is there"
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same_site(host: str, headers: dict[str, str]) -> bool:
    """Whether a browser says that our own page sent this; programs say nothing, and are let in."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower() and bool(host)
    except ValueError:
        return False


def _from_elsewhere(headers: dict[str, str]) -> bool:
    """Whether another site asks for a picture or a frame: its browser holds our cookie back, and a new one would win.

    A link that opens our page brings the cookie (SameSite=Lax), so one without it has none.
    """
    opens = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return headers.get("sec-fetch-site") == "cross-site" and not opens


def _knows(header: str, password: bytes) -> bool:
    """Whether an Authorization header holds the password, in a time that does not tell how much of it."""
    kind, _, text = header.partition(" ")
    try:
        given = base64.b64decode(text, validate=True).partition(b":")[2] if kind.lower() == "basic" else b""
    except ValueError:
        given = b""
    return hmac.compare_digest(given, password)


def owner_of(cookies: str) -> str | None:
    """The owner that a Cookie header names; None for a header without one."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and re.fullmatch(r"[0-9a-f]{32}", found.value) else None


async def _answer(scope: Scope, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text[:120]})
        return
    body = json.dumps({"error": text}).encode()
    headers = [*HEADERS, (POLICY, OF_OTHERS), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="flowedit", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
