"""Where the Stan environment is, and what of it is needed to compile a program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[3]
VARIABLE = "BAYES_ISA_STAN_PYTHON"
HOW_TO = (
    "no Stan environment: make one with `sh tests/benchmarks/stan/environment.sh` "
    f"(or set {VARIABLE} to the Python of one)"
)


def stan_python() -> Path | None:
    """Python of the Stan environment: the one named by BAYES_ISA_STAN_PYTHON, else .venv-stan; None without."""
    named = os.environ.get(VARIABLE)
    python = Path(named) if named else _REPOSITORY / ".venv-stan" / "bin" / "python"
    return python if python.is_file() else None


def httpstan_directory() -> Path:
    """Directory of httpstan in the Stan environment, with stanc, headers and libraries.

    Raises FileNotFoundError without a Stan environment.
    """
    python = stan_python()
    if python is None:
        raise FileNotFoundError(HOW_TO)
    show = "import importlib.util as u; print(u.find_spec('httpstan').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", show], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())
