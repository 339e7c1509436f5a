"""`flowedit app` and `flowedit serve`: the studio in a browser, and its API alone."""

import argparse
from dataclasses import replace
from typing import Any

from flowedit.cli.flags import UNSET, Parser, add_flag, given
from flowedit.declare import options_of
from flowedit.messages import InputError

ABOUT = {
    "app": "edit in a browser: flowedit app",
    "serve": "the same without the page, for programs: flowedit serve (flowedit/app/README.md)",
}

OPTIONAL = ("gradio", "fastapi", "uvicorn", "python_multipart", "markdown_it")


def app_parser() -> argparse.ArgumentParser:
    """`flowedit app`."""
    return _parser("app", "Open the studio: a page where clips are edited, on this machine alone.", True)


def serve_parser() -> argparse.ArgumentParser:
    """`flowedit serve`."""
    return _parser("serve", "Serve the studio's API, without its page.", False)


PARSERS = {"app": app_parser, "serve": serve_parser}


def _parser(name: str, about: str, page: bool) -> argparse.ArgumentParser:
    from flowedit.app.options import StudioOptions

    parser = Parser(f"flowedit {name}", description=about, allow_abbrev=False)
    for field, option in options_of(StudioOptions).items():
        if field == "open":
            if page:
                switch = argparse.BooleanOptionalAction
                parser.add_argument("--open", action=switch, default=UNSET, help=f"{option.help} (default yes)")
            continue
        add_flag(parser, field, replace(option, help=option.help + _default(field)), StudioOptions)
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.set_defaults(run=lambda options: _serve(options, page))
    return parser


def _default(field: str) -> str:
    """What conf/studio.yaml says of a flag, for its help."""
    from flowedit.config.defaults import read

    value = read("studio")[field]
    return "" if value in (None, []) else f" (default {value})"


def _serve(options: argparse.Namespace, page: bool) -> int:
    from flowedit.app.options import StudioOptions, studio_options

    if options.rest:
        raise InputError(f"{options.rest[0]!r}: the studio takes flags alone; clips are given on its page")
    flags: dict[str, Any] = given(options, [name for name in options_of(StudioOptions) if hasattr(options, name)])
    made = studio_options(flags)
    try:
        from flowedit.app.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL:
            raise
        raise InputError(f'{error.name} is not installed: pip install "flowedit[app]"') from error
    serve(made, page)
    return 0
