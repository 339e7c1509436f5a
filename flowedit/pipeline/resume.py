"""A killed edit goes on: what is kept of it in a hidden folder beside the result until it is done.

The folder's name ends in a hash of all that decides the result, so that no edit finds the state of another. A file in
it appears whole and holds a hash of what it says; one that is damaged is set aside.
"""

import glob
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from flowedit.machine import digest, digest_file, digest_folder, versions, whole_file
from flowedit.media.formats.forms import WRITTEN
from flowedit.messages import Cancelled, FileError, InputError, NumericalError, OutOfMemoryError, listed
from flowedit.pipeline.outputs import Staging
from flowedit.pipeline.plan import Brief
from flowedit.pipeline.record import Session, plain
from flowedit.pipeline.source import Shot
from flowedit.types import Backbone, Evaluations, Step

SECONDS, SHARE = 5.0, 50.0
"""The state of a step is kept when so many seconds have gone since the last one was, and so many times what it cost."""

END = ".unfinished"
"""The end of a hidden folder's name."""

MEMORY = ("runtime.offload", "runtime.rows")
"""Where an edit lies in memory decides no more than the last bits of its numbers: with less it goes on."""

PLACES = ("backbone.path", "backbone.transformer", "backbone.transformer_2")
"""Where weights lie; what lies there is in the hash of the backbone."""

OWN = "memory."
"""What the names of the editor's own tensors begin with, beside the state and the mask's."""

Tensors = dict[str, Tensor]


class Journal:
    """The hidden folder of one edit: tensors and plain facts by name; without a folder nothing is kept or found."""

    def __init__(self, folder: Path | None = None, say: Callable[[Sequence[str]], None] = lambda texts: None) -> None:
        self._folder, self._say, self._told = folder, say, False

    @property
    def keeps(self) -> bool:
        """Whether what is saved is kept at all."""
        return self._folder is not None

    def place(self, name: str, otherwise: Path) -> Path:
        """Where files of this name are made that a killed edit goes on with: in the folder, or else in another one."""
        return (otherwise if self._folder is None else self._folder) / name

    @property
    def holds(self) -> bool:
        """Whether there is something in it to go on from."""
        return self._folder is not None and any(self._folder.glob("*.safetensors"))

    def save(self, name: str, tensors: Mapping[str, Tensor], **facts: Any) -> None:
        """Keep these under a name; a disk that refuses them costs no more than that nothing is kept from there on."""
        if self._folder is None:
            return
        # each in memory of its own, as tensors that share it are not written
        whole = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in tensors.items()}
        metadata = {"facts": json.dumps(facts), "hash": _hash(whole, json.dumps(facts))}
        try:
            with whole_file(self._folder / f"{name}.safetensors", parents=False) as part:
                save_file(whole, part, metadata)
        except (OSError, SafetensorError):
            self._say([f"the edit's state cannot be kept in {str(self._folder)!r}: if it is killed, it starts anew"])
            self._folder = None

    def load(self, name: str) -> tuple[Tensors, dict[str, Any]] | None:
        """What was kept under a name, on the host; None for nothing, and for what is damaged, which is set aside."""
        if self._folder is None or not (path := self._folder / f"{name}.safetensors").exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            facts = metadata["facts"]
            if _hash(tensors, facts) != metadata["hash"]:
                raise ValueError("its content is not what was written")
            found = tensors, dict(json.loads(facts))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            self._say([f"the kept state {str(aside)!r} is damaged and set aside: what it held is done again"])
            return None
        if not self._told:
            self._told = True
            self._say(["an earlier run of this was not finished: this one goes on where it stopped"])
        return found

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """No other process makes what is kept under this name inside the block, where the folder has locks."""
        from filelock import FileLock

        lock = None if self._folder is None else FileLock(self._folder / f"{name}.lock")
        with suppress(OSError):
            if lock is not None:
                self._folder.mkdir(parents=True, exist_ok=True)  # type: ignore[union-attr]
                lock.acquire()
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def drop(self, pattern: str) -> None:
        """Forget what is kept under these names."""
        if self._folder is not None:
            for path in self._folder.glob(f"{pattern}.safetensors"):
                path.unlink(missing_ok=True)


class Steps:
    """The steps of one shot's edit: the first `reached` were taken by an earlier run, the others are kept from here.

    `recalls`: the steps whose states the editor needs again after later ones, or None for one that takes no state from
    its callback: nothing is kept for it. `state` gives what the mask knows, `restore` takes it back; `evaluations`
    counts what this run sent through the network. `memory` is the editor's (`EditorInputs.memory`).
    """

    def __init__(
        self,
        journal: Journal,
        shot: int,
        recalls: Any,
        state: Callable[[], Tensors] = dict,
        restore: Callable[[Tensors], None] = lambda state: None,
        evaluations: Callable[[], Evaluations] = Evaluations,
    ) -> None:
        self._journal, self._name, self._recalls = journal, f"shot-{shot:03}-step", recalls
        self._state, self._restore, self._evaluations = state, restore, evaluations
        self._unsaved: dict[int, Tensor] = {}
        self._states: dict[int, Tensor] = {}
        self._mask: Tensors = {}
        self._memory: Tensors = {}
        self.memory: Tensors = {}
        self._due = time.monotonic() + SECONDS
        self.reached, self.evaluations = 0, Evaluations()
        self._find()

    def _find(self) -> None:
        if self._recalls is None or (found := self._journal.load(self._name)) is None:
            return
        tensors, facts = found
        last = int(facts["step"])
        for step in range(last):
            if step in self._recalls:
                if (recalled := self._journal.load(f"{self._name}-{step:05}")) is None:
                    return  # the way is broken: it is gone again from its start
                self._states[step] = recalled[0]["z"]
        self._states[last] = tensors.pop("z")
        remembered = {key for key in tensors if key.startswith(OWN)}
        self._memory = {key.removeprefix(OWN): tensors.pop(key) for key in remembered}
        self._mask = tensors
        self.reached, self.evaluations = last + 1, Evaluations(*facts["evaluations"])

    def again(self, step: Step) -> Tensor | None:
        """The state after one of the first `reached` steps, if the editor needs it; with the last all the rest."""
        if step.index == self.reached - 1:
            self._restore(self._mask)
            self.memory.clear()
            self.memory.update({key: value.to(step.z.device) for key, value in self._memory.items()})
        state = self._states.pop(step.index, None)
        return None if state is None else state.to(step.z.device)

    def took(self, step: Step) -> None:
        """A step of this run: keep its state if it is time, after a look for NaN."""
        if self._recalls is None or not self._journal.keeps:
            return  # no look at the device, and no state held, for nothing
        if step.index in self._recalls:
            self._unsaved[step.index] = step.z
        start = time.monotonic()
        if start < self._due:
            return
        step.check()
        for index, z in self._unsaved.items():
            self._journal.save(f"{self._name}-{index:05}", {"z": z})
        self._unsaved.clear()
        done = self.evaluations + self._evaluations()
        remembered = {OWN + key: value for key, value in self.memory.items()}
        kept = {"z": step.z, **self._state(), **remembered}
        self._journal.save(self._name, kept, step=step.index, evaluations=astuple(done))
        now = time.monotonic()
        self._due = now + max(SECONDS, SHARE * (now - start))


@contextmanager
def unfinished(stage: Staging, key: Mapping[str, Any] | None, session: Session) -> Iterator[Journal]:
    """What is kept of the edit of this key beside its result; gone once the block is done.

    It stays where the block was killed, interrupted or out of memory, and those errors say so. It goes where the same
    command would fail again, or was cancelled. A run beside another of the same edit keeps nothing. Errors that name a
    file of the hidden stage name its place in the final folder.
    """
    try:
        with _kept(stage, key, session) as journal:
            yield journal
    except (InputError, FileError) as error:
        whole, staged = str(error.args[0] if error.args else ""), str(stage.folder)
        if staged not in whole:
            raise
        raise type(error)(whole.replace(staged, str(stage.final))) from error


@contextmanager
def _kept(stage: Staging, key: Mapping[str, Any] | None, session: Session) -> Iterator[Journal]:
    if key is None:
        yield Journal()
        return
    from filelock import FileLock, Timeout

    folder = _folder(stage, digest(*key.values()))
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)  # a killed process loses its lock with its life
    except (OSError, Timeout):
        yield Journal()
        return
    journal, stays = Journal(folder, session.say), True
    try:
        session.say(_others(stage, folder, key))
        _sweep(folder, stage)
        (folder / "key.json").write_text(json.dumps(key), encoding="utf-8")
        yield journal
        stays = False
    except (Cancelled, InputError, NumericalError):
        stays = False
        raise
    except KeyboardInterrupt:
        if journal.holds:
            raise KeyboardInterrupt(f"what is done is kept in {str(folder)!r}; the same command goes on") from None
        raise
    except OutOfMemoryError as error:
        if journal.holds:
            raise OutOfMemoryError(
                f"{error}. What is done so far is kept in {str(folder)!r}: with more memory free, or with less to "
                "need (--runtime), the same command goes on from there; other settings start anew"
            ) from error
        raise
    except Exception:
        if journal.holds:
            session.say([f"what is done is kept in {str(folder)!r}; the same command goes on"])
        raise
    finally:
        stays = stays and journal.holds
        lock.release()
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)


def forget_others(stage: Staging, key: Mapping[str, Any] | None) -> None:
    """Remove what edits with other settings left beside the same result, which is another edit's now."""
    if key is None:
        return
    from filelock import FileLock, Timeout

    for folder in _found(stage):
        try:
            with FileLock(folder / ".lock", timeout=0):
                pass
        except (OSError, Timeout):  # it is being made
            continue
        if folder != _folder(stage, digest(*key.values())):
            shutil.rmtree(folder, ignore_errors=True)


def key_of(made: Brief, backbone: Backbone, checkpoint: Path | None, clip: Path | None = None) -> dict[str, Any]:
    """All that decides a result, as plain values by name: settings, clip if there is one, mask, backbone, versions."""
    settings = made.settings
    values = _flat(plain(asdict(settings)))
    for name in ("clip", "out", "user_mask", "caption", "lora", "runtime.cache", *PLACES, *MEMORY, *WRITTEN):
        values.pop(name, None)
    described = {
        name: value for name, value in backbone.describe().items() if name not in ("folder", "offload", "rows")
    }
    return {
        **values,
        "clip": None if clip is None else digest_file(clip),
        "user_mask": None if settings.user_mask is None else digest_file(Path(settings.user_mask)),
        "weights": None if checkpoint is None else digest_folder(checkpoint),
        **{f"backbone's {name}": value for name, value in described.items()},
        "versions": versions(),
        "code": code_of(made.editor.run),
    }


def code_of(function: Callable[..., Any]) -> list[str | None]:
    """The hashes of our own modules, and of the module that a function comes from, which may be a plug-in's."""
    inner = getattr(function, "func", function)
    module = getattr(sys.modules.get(getattr(inner, "__module__", "")), "__file__", None)
    return [_code(), None if module is None else digest_file(Path(module))]


@cache
def _code() -> str:
    """The hash of our own modules: a version's number may stand still while they change."""
    root = Path(str(files("flowedit")))
    return digest(*(digest_file(path) for path in sorted(root.rglob("*.py"))))


def key_of_shot(clip: Path, shot: Shot, backbone: Backbone) -> str:
    """What decides a shot's source latent, as a name: the clip's bytes, its frames, their fit, and the autoencoder."""
    described = {name: str(value) for name, value in backbone.describe().items() if name != "folder"}
    place = digest_file(clip), [int(index) for index in shot.selection.indices]
    return digest(*place, repr(shot.fit), repr(shot.geometry), described, torch.get_num_threads())


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def _hash(tensors: Mapping[str, Tensor], facts: str) -> str:
    made = hashlib.blake2b(facts.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def _prefix(stage: Staging) -> str:
    return f".{stage.final.absolute().name}." if stage.fixed else "."


def _places(stage: Staging) -> list[Path]:
    """Inside the result's folder if it is there, else beside where it will be; and the other of the two."""
    final = stage.final.absolute()
    places = [final, final.parent] if final.exists() else [final.parent]
    return places if stage.fixed else [final.parent]


def _folder(stage: Staging, key: str) -> Path:
    """Where this edit is kept: where an earlier run of it kept it, or else at the first of its places."""
    folders = [place / f"{_prefix(stage)}{key}{END}" for place in _places(stage)]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _found(stage: Staging) -> list[Path]:
    """The hidden folders of all edits of this result; none for a result whose name is its time."""
    if not stage.fixed:
        return []
    pattern = f"{glob.escape(_prefix(stage))}*{END}"
    return [folder for place in _places(stage) for folder in sorted(place.glob(pattern)) if folder.is_dir()]


def _others(stage: Staging, own: Path, key: Mapping[str, Any]) -> Iterator[str]:
    """What is to be said of unfinished edits with other settings."""
    for folder in _found(stage):
        if folder == own or not any(folder.glob("*.safetensors")):
            continue
        try:
            other = dict(json.loads((folder / "key.json").read_text(encoding="utf-8")))
            names = [name for name in {**key, **other} if json.dumps(key.get(name)) != json.dumps(other.get(name))]
        except (OSError, ValueError):
            names = []
        what = listed(names[:4]) or "settings"
        yield (
            f"an unfinished edit in {str(stage.final)!r} differs in {what}: its state is not used here, and is removed "
            "once this edit is done"
        )


def _sweep(folder: Path, stage: Staging) -> None:
    """Remove what a killed run of this edit had begun to write, and note where this one writes."""
    note = folder / "stage"
    try:
        left = Path(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        left = None
    if left is not None and left.name.startswith(stage.START) and left.parent in _places(stage):
        shutil.rmtree(left, ignore_errors=True)
    note.write_text(str(stage.folder.absolute()), encoding="utf-8")
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
