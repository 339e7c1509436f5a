"""Which class became which."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.table import Table

from flowedit.bench.scene import Found
from flowedit.tables import LINE


def confusion(found: Sequence[Found], method: str) -> Table | None:
    """Rows: what an object should have become; columns: what it is nearest to. None where no class was edited."""
    pairs = Counter((f.right, f.nearest) for f in found if f.method == method and f.kind.startswith("replace"))
    if not pairs:
        return None
    names = sorted({name for pair in pairs for name in pair})
    title = f"{method}, each replaced object: it should have become (rows), and is nearest to (columns)"
    table = Table(title=title, box=box.SIMPLE, title_justify="left", min_width=LINE)
    for name in ("", *names):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for right in names:
        table.add_row(right, *(str(pairs[right, near] or "·") for near in names))
    return table
