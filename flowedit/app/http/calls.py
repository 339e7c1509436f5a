"""What the page may send to Gradio: one small JSON object that names no file, read before Gradio reads it."""

import json
import re
import sys
import traceback
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from flowedit.app.access import READS, App, Receive, Scope, Send
from flowedit.app.http.uploads import text_of
from flowedit.app.limits import TooMuchError
from flowedit.machine import parsed_json
from flowedit.messages import InputError

API = "/gradio_api"

KEYS = {"data", "event_data", "fn_index", "trigger_id", "session_hash"}
"""All that Gradio's script puts in a call."""

OF_FILES = {"path", "meta", "_type"}
"""Keys by which Gradio knows a file: it copies what lies at `path`, or fetches it, before a handler is asked.

The page's own values have none of them.
"""

DEEPEST = 50
"""Lists and objects within each other, beyond which Gradio would not come to an end of its own."""

FAILED = "the page and the studio do not understand each other: load the page again"
"""What is said in place of Gradio's own errors, as those repeat what was sent."""


class Calls:
    """Middleware before Gradio's API: refuses a call that is long or names a file, and hands on what it read."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READS or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        try:
            body = checked(await text_of(Request(scope, receive)))
        except ClientDisconnect:
            return
        except TooMuchError as error:  # what is still on its way is not waited for
            await JSONResponse({"error": str(error)}, 413, {"connection": "close"})(scope, receive, send)
            return
        except InputError as error:
            await JSONResponse({"error": str(error)}, 422)(scope, receive, send)
            return
        await self._hand_on(scope, receive, send, body)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        """Let Gradio answer; of an error its status alone."""
        kept = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
        inner = {**scope, "headers": [*kept, (b"content-length", str(len(body)).encode())]}
        read, status = False, 0

        async def replayed() -> Any:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body}

        async def told(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            if status < 400:
                await send(message)

        try:
            await self._app(inner, replayed, told)
        except Exception as error:
            tell(error)
            if 0 < status < 400:
                return
            status = 500
        if status >= 400:
            await JSONResponse({"error": FAILED}, status)(scope, receive, send)


def checked(text: bytes) -> bytes:
    """A call, written anew so that Gradio reads what was looked at; raises InputError for what the page never sends."""
    call = parsed_json(text, "the call")
    if not isinstance(call, dict) or not set(call) <= KEYS or not _is_call(call):
        raise InputError("this is no call of the page: programs ask the routes of /api, which /docs lists")
    left: list[tuple[Any, int]] = [(call, 0)]
    while left:
        value, depth = left.pop()
        if depth > DEEPEST:
            raise InputError(f"the call is nested more than {DEEPEST} deep, which none of the page is")
        if isinstance(value, dict) and not OF_FILES.isdisjoint(value):
            raise InputError("the call names a file, which the page never does: upload it by POST /api/clips")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        left += [(each, depth + 1) for each in inner]
    return json.dumps(call).encode()


def _is_call(call: dict[str, Any]) -> bool:
    """Whether each part of a call is of its kind; the name of its session is letters and digits by chance."""
    of, by, session = call.get("fn_index"), call.get("trigger_id"), call.get("session_hash")
    numbers = isinstance(of, int) and isinstance(by, (int, type(None))) and isinstance(call.get("data"), list)
    return numbers and isinstance(session, str) and bool(re.fullmatch(r"[0-9A-Za-z]{1,64}", session))


def tell(error: Exception) -> None:
    """Say in the terminal where a call failed; not what the error says, as that repeats what was sent."""
    lines = traceback.format_tb(error.__traceback__)
    print(f"Traceback of a call of the page, {type(error).__name__}:\n{''.join(lines)}", file=sys.stderr, flush=True)
