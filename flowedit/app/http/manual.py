"""Pages to read: the API as one table, and what this room's README says, both without scripts."""

import re
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

README = Path(__file__).parents[1] / "README.md"

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "td,th{padding:.4rem .8rem .4rem 0;vertical-align:top;text-align:start}table{border-collapse:collapse}"
    "tr{border-top:1px solid #8884}pre{overflow-x:auto}"
)


def page(title: str, body: str) -> str:
    """A page around what is HTML already."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style>{body}</html>"
    )


def manual(schema: dict[str, Any]) -> str:
    """The API as one page, of its OpenAPI schema."""
    rows = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            fields = ", ".join(_fields(about))
            told = f"{escape(about.get('description', ''))}<br><small>{escape(fields)}</small>"
            rows.append(f"<tr><td><b>{method.upper()}</b></td><td><code>{escape(path)}</code></td><td>{told}</td></tr>")
    body = (
        f"<h1>flowedit {escape(schema['info']['version'])}: the API</h1>"
        f'<p>{escape(schema["info"]["description"])} Errors are answered as <code>{{"error": "one line"}}</code>. '
        f"For programs: <a href=/openapi.json>openapi.json</a>. In words: <a href=/help#the-api>help</a>.</p>"
        f"<table>{''.join(rows)}</table>"
    )
    return page("flowedit API", body)


def _fields(about: dict[str, Any]) -> list[str]:
    """The names of what a route takes."""
    named = [each["name"] for each in about.get("parameters", []) if each["in"] == "query"]
    for content in about.get("requestBody", {}).get("content", {}).values():
        named += content["schema"].get("properties", {})
    return named


def readme() -> str:
    """The README of the studio as a page; a heading can be linked to by its words, links to files are words alone."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(README.read_text(encoding="utf-8"))
    for heading, words in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", re.sub(r"[^a-z0-9]+", "-", words.content.lower()).strip("-"))
    for token in tokens:
        token.children = None if token.children is None else _without_files(token.children)
    return page("flowedit studio: help", str(reader.renderer.render(tokens, reader.options, {})))


def _without_files(tokens: list[Any]) -> list[Any]:
    """Inline tokens without links to files, which are not served."""
    kept, away = [], False
    for token in tokens:
        if token.type == "link_open":
            away = not str(token.attrGet("href")).startswith(("#", "http://", "https://"))
        if not (away and token.type in ("link_open", "link_close")):
            kept.append(token)
        away = away and token.type != "link_close"
    return kept
