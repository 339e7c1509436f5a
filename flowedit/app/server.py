"""One process: the studio, its API, a page of its routes, and the Gradio page at / where it is wanted."""

import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from html import escape
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

import flowedit
from flowedit.app.access import Guard
from flowedit.app.desk import Studio
from flowedit.app.http.routes import add_routes
from flowedit.app.options import StudioOptions
from flowedit.messages import InputError

WAIT = 5
"""Seconds that answers which run get when the server ends."""


def make_app(studio: Studio, page: bool) -> FastAPI:
    """The application around a studio, with the page at /, or else the API alone."""

    app = FastAPI(
        title="flowedit", version=flowedit.__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json",
        description="Edit an existing video from text. Jobs are kept on disk and run in turn.",
    )  # fmt: skip
    add_routes(app, studio)

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def docs() -> str:
        return manual(app.openapi())

    if page:
        app = _with_page(app, studio)
    else:

        @app.get("/", include_in_schema=False)
        def home() -> RedirectResponse:
            return RedirectResponse("/docs")

    app.add_middleware(Guard, options=studio.options)
    return app


def _with_page(app: FastAPI, studio: Studio) -> FastAPI:
    """The application with the Gradio page at /; raises InputError where Gradio is not installed."""
    try:
        from flowedit.app.page.page import mount
    except ImportError as error:
        raise InputError('the page needs Gradio: pip install "flowedit[app]" (flowedit serve does without)') from error
    return mount(app, studio)


def manual(schema: dict[str, Any]) -> str:
    """The API as one page without scripts or anything from another host."""
    rows = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            fields = ", ".join(_fields(about))
            told = f"{escape(about.get('description', ''))}<br><small>{escape(fields)}</small>"
            rows.append(f"<tr><td><b>{method.upper()}</b></td><td><code>{escape(path)}</code></td><td>{told}</td></tr>")
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
        "color-scheme:light dark}td{padding:.4rem .8rem .4rem 0;vertical-align:top}"
        "table{border-collapse:collapse}tr{border-top:1px solid #8884}"
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>flowedit API</title><style>{style}</style>"
        f"<h1>flowedit {escape(schema['info']['version'])}: the API</h1>"
        f'<p>{escape(schema["info"]["description"])} Errors are answered as <code>{{"error": "one line"}}</code>. '
        f"For programs: <a href=/openapi.json>openapi.json</a>.</p><table>{''.join(rows)}</table></html>"
    )


def _fields(about: dict[str, Any]) -> list[str]:
    """The names of what a route takes."""
    named = [each["name"] for each in about.get("parameters", []) if each["in"] == "query"]
    for content in about.get("requestBody", {}).get("content", {}).values():
        named += content["schema"].get("properties", {})
    return named


def serve(options: StudioOptions, page: bool) -> None:
    """Run until Ctrl-C or a termination; what runs then goes on when the studio starts again.

    Raises InputError for a port that is taken, BusyError for a folder that another studio works in.
    """
    studio = Studio(options)
    app, listener = make_app(studio, page), listen(options)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=WAIT, server_header=False
    )
    with listener:
        studio.start()
        try:
            _tell(options, listener, page)
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            studio.close()


def _tell(options: StudioOptions, listener: socket.socket, page: bool) -> None:
    """Say where the studio is, and open it where there is a screen."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{listener.getsockname()[1]}"
    if not options.local:
        warning = f"note: other machines can reach this studio, at {options.host}; the password travels unencrypted"
        print(warning, file=sys.stderr)
    print(f"flowedit: {address}{'' if page else '/docs'}  (Ctrl-C ends it; results in {options.out})", flush=True)
    if page and options.open and _has_screen():
        opens = threading.Timer(0.5, webbrowser.open, [address])
        opens.daemon = True  # a server that ends does not wait for it
        opens.start()


def listen(options: StudioOptions) -> socket.socket:
    """A socket at the host and port; raises InputError for one that is taken or is not ours."""
    kind = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        listener.listen(128)  # who comes before the server runs waits
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on {options.host} port {options.port} ({error.strerror}): choose another --port"
        ) from error
    return listener


def _has_screen() -> bool:
    """Whether a browser has somewhere to open."""
    import os

    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
