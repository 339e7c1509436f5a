"""Many jobs, in this process, in several, or on Ray: each leaves a folder that appears whole, and is made once."""

from flowedit.engine.drive import Outcome, run
from flowedit.engine.pools import Pool, open_pool
from flowedit.engine.store import Store, opened
from flowedit.engine.task import Task, digest, digest_file, digest_folder

__all__ = [
    "Outcome",
    "Pool",
    "Store",
    "Task",
    "digest",
    "digest_file",
    "digest_folder",
    "open_pool",
    "opened",
    "run",
]
