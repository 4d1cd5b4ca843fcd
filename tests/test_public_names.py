"""The public surface: every name is there, documented, and costs nothing until it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import bayes_isa as bi


def test_every_name_is_there_and_documented() -> None:
    for name in bi.__all__:
        value = getattr(bi, name)
        assert inspect.getdoc(value), name
        assert name in dir(bi)


def test_the_names_type_checkers_see_are_those_imported() -> None:
    """The imports under TYPE_CHECKING, the table of modules and `__all__` say the same."""
    tree = ast.parse(inspect.getsource(bi))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == bi._MODULE_OF
    assert sorted(seen) == bi.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        bi.fitt  # noqa: B018


def test_the_version_is_that_of_the_installed_package() -> None:
    assert bi.__version__ == version("bayes-isa")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, bayes_isa\n"
        "dir(bayes_isa)\n"
        "heavy = {'pymc', 'pytensor', 'numba', 'pandas', 'xarray', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
