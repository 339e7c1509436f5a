"""The cells of examples/flowedit.ipynb, run in this process as Jupyter would; `python tests/helpers/notebook.py` keeps
what they show in it."""

import ast
import base64
import contextlib
import io
import json
import linecache
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "flowedit.ipynb"


def read() -> dict[str, Any]:
    """The notebook."""
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def source(cell: dict[str, Any]) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def run(cells: list[dict[str, Any]]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The names that the code cells leave, and of each what it printed and the value of its last expression."""
    known: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for place, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        name, text, said = f"<cell {place}>", source(cell), io.StringIO()
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # for a traceback
        body = ast.parse(text, name).body
        last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(said):
            exec(compile(ast.Module(body, []), name, "exec"), known)
            value = None if last is None else eval(compile(last, name, "eval"), known)
        shown.append((said.getvalue(), value))
    return known, shown


def outputs(printed: str, value: Any, number: int) -> list[dict[str, Any]]:
    """What a cell shows, as the notebook keeps it: pictures as JPEG."""
    found: list[dict[str, Any]] = []
    if printed:
        found.append({"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)})
    if value is not None:
        held = io.BytesIO()
        value.convert("RGB").save(held, "JPEG", quality=80)
        data = {"image/jpeg": base64.b64encode(held.getvalue()).decode(), "text/plain": ["<PIL.Image.Image>"]}
        found.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return found


def main() -> None:
    """Run the notebook in an empty folder, and write what it shows into it."""
    book = read()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        _, shown = run(book["cells"])
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    for number, (cell, (printed, value)) in enumerate(zip(code, shown, strict=True), 1):
        cell |= {"execution_count": number, "outputs": outputs(printed, value, number)}
    NOTEBOOK.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
