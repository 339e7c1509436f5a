"""One process: the studio, its API, a page of its routes, and the Gradio page at / where it is wanted."""

import errno
import os
import re
import socket
import sys
import threading
import webbrowser
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

import flowedit
from flowedit.app.access import Guard
from flowedit.app.desk.studio import Studio
from flowedit.app.http.calls import Calls
from flowedit.app.http.manual import manual, readme
from flowedit.app.http.routes import add_routes
from flowedit.app.options import StudioOptions
from flowedit.evaluation.engine.store import open_store
from flowedit.messages import BusyError, InputError

ADDRESS = "address"
"""The file, in the hidden folder, that says where a studio listens."""

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

    @app.get("/help", response_class=HTMLResponse, include_in_schema=False)
    def help() -> str:
        return readme()

    if page:
        app = _with_page(app, studio)
        app.add_middleware(Calls)
    else:

        @app.get("/", include_in_schema=False)
        def home() -> RedirectResponse:
            return RedirectResponse("/docs")

    app.add_middleware(Guard, options=studio.options)
    return app


def _with_page(app: FastAPI, studio: Studio) -> FastAPI:
    """The application with the Gradio page at /; raises InputError where Gradio is not installed."""
    os.environ["GRADIO_TEMP_DIR"] = str(studio.root / "gradio")  # which it reads when it is imported
    try:
        from flowedit.app.page.page import mount
    except ImportError as error:
        raise InputError('the page needs Gradio: pip install "flowedit[app]" (flowedit serve does without)') from error
    return mount(app, studio)


def serve(options: StudioOptions, page: bool) -> None:
    """Run until Ctrl-C or a termination; what runs then goes on when the studio starts again.

    Raises InputError for a port that is taken, BusyError for a folder that another studio works in.
    """
    studio = Studio(options)
    check_free(studio)  # before the port: of the same command twice this is what is wrong
    app, listener = make_app(studio, page), listen(options)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=WAIT, server_header=False
    )
    with listener:
        studio.start()
        try:
            _tell(studio, listener, page)
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            studio.close()


def check_free(studio: Studio) -> None:
    """Raise BusyError where another studio works in the folder, and say where it is to be found."""
    try:
        with open_store(studio.root):
            return
    except BusyError:
        out, found = studio.options.out, ""
        with suppress(OSError, UnicodeError):
            found = (studio.root / ADDRESS).read_text(encoding="utf-8").strip()
        known = re.fullmatch(r"http://[\w.:\[\]-]{1,80}", found)
        does = f"open {found}" if known else "go to its page"
        other = "start another one with --out DIR --port 0"
        raise BusyError(f"a studio works in {out!r} already: {does}, or {other}") from None


def _tell(studio: Studio, listener: socket.socket, page: bool) -> None:
    """Say where the studio is, and open it where there is a screen."""
    options = studio.options
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{listener.getsockname()[1]}"
    with suppress(OSError):  # for who starts a second one here
        (studio.root / ADDRESS).write_text(address, encoding="utf-8")
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
        raise InputError(_unheard(options, error)) from error
    return listener


def _unheard(options: StudioOptions, error: OSError) -> str:
    """Why nothing can listen there, and what to type."""
    if error.errno == errno.EADDRINUSE:
        return f"port {options.port} of {options.host} is taken: give another --port, or --port 0 for any that is free"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {options.port} is the administrator's alone: give a --port from 1024 up, or --port 0 for any"
    return f"cannot listen on {options.host} port {options.port} ({error.strerror}): leave out --host and --port"


def _has_screen() -> bool:
    """Whether a browser has somewhere to open."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
