"""What a package index shows of flowedit: README.md with whole addresses, and the project's links.

A build asks for it (see pyproject.toml). FLOWEDIT_REPOSITORY is the address of the repository, such as
https://HOST/OWNER/flowedit; without it the page is README.md as it is, and has no links.
"""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

BRANCH = "main"


class PackagePage(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    def update(self, metadata: dict) -> None:
        """Called by hatchling with the project's metadata."""
        address = os.environ.get("FLOWEDIT_REPOSITORY", "").rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": page(text, address) if address else text}
        metadata["urls"] = urls(address) if address else {}


def page(text: str, address: str) -> str:
    """A README whose pictures and links lead to the repository, wherever it is shown."""
    text = re.sub(r"(!\[[^\]]*\]\()(?!\w+:|#)", rf"\1{address}/raw/{BRANCH}/", text)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!\w+:|#)", rf"\1{address}/blob/{BRANCH}/", text)


def urls(address: str) -> dict[str, str]:
    """The project's links."""
    return {
        "Homepage": address,
        "Documentation": f"{address}/blob/{BRANCH}/README.md",
        "Troubleshooting": f"{address}/blob/{BRANCH}/flowedit/pipeline/TROUBLESHOOTING.md",
        "Issues": f"{address}/issues",
    }
