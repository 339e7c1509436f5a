"""Packages of diffusers that import every model they have when one is asked for: here they wait until all are."""

import importlib
import importlib.util
import sys
from types import ModuleType

IMPORT_ALL = ("transformers", "autoencoders", "unets")


class _Waiting(ModuleType):
    """A package whose own code runs when something is asked of it that no import of its modules has put there."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer(parent: str = "diffusers.models", names: tuple[str, ...] = IMPORT_ALL) -> None:
    """Let packages inside `parent` wait; those that are imported already, or are not there, stay as they are.

    A module of theirs is then imported alone: an edit by CogVideoX loads no other model's code.
    """
    holder = importlib.import_module(parent)
    for child in names:
        name = f"{parent}.{child}"
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            continue
        package = importlib.util.module_from_spec(spec)
        package.__class__ = _Waiting
        sys.modules[name] = package
        setattr(holder, child, package)
