"""An import that waits until it is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import LazyLoader, find_spec
from types import ModuleType


@contextmanager
def deferred(name: str) -> Iterator[None]:
    """Whoever imports the module `name` within for the first time gets it without its code being run.

    That happens when something of it is used, or when it is imported once more.
    """
    finder = _Finder(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.leave()


def load(name: str) -> None:
    """Import a module, if it is not there yet or its import was deferred.

    In a thread, which Ctrl-C does not reach: a deferred module that is left half run cannot be imported anew.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, name).result()


class _Finder(MetaPathFinder):
    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        self.leave()  # so that what is asked next is where modules are found otherwise
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec

    def leave(self) -> None:
        """Find nothing from now on."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
