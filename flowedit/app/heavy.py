"""The libraries that take seconds to import: once, by one thread while the others wait."""

import threading

_ALONE = threading.Lock()


def ready() -> None:
    """Import what an edit needs. Two threads at once find modules of transformers half made, and fail."""
    with _ALONE:
        import flowedit
        import flowedit.evaluation.edit_job

        flowedit.describe, flowedit.check  # noqa: B018  (they are imported when they are first named)
