"""Log density and gradient of a Stan program in this process, so that both peers are timed side by side."""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stan.environment import httpstan_directory
from benchmarks.stan.programs import program

CACHE = Path(tempfile.gettempdir()) / "bayes-isa-stan"
_DRIVER = Path(__file__).resolve().parent / "density.cpp"
# What httpstan itself compiles with, but for STAN_THREADS, which slows Stan's derivatives down, and with the
# processor's own instructions.
_MACROS = (
    "BOOST_DISABLE_ASSERTS",
    "BOOST_PHOENIX_NO_VARIADIC_EXPRESSION",
    "_REENTRANT",
    "_GLIBCXX_USE_CXX11_ABI=0",
)
# Without unique symbols two programs in one process keep apart their autodiff stacks, whose type STAN_THREADS changes.
_OPTIONS = ("-O3", "-march=native", "-std=c++17", "-w", "-fPIC", "-shared", "-fno-gnu-unique")
_LIBRARIES = ("sundials_cvodes", "sundials_idas", "sundials_nvecserial", "tbb")
_DOUBLES = ctypes.POINTER(ctypes.c_double)


def build_density(name: str, cache: Path = CACHE, *, threads: bool = False) -> Path:
    """The shared library of program `name`, compiled into directory `cache` unless it is there.

    `threads`: with STAN_THREADS, without which reduce_sum is a plain sum. Raises FileNotFoundError without a Stan
    environment, RuntimeError with the compiler's words when it refuses.
    """
    home = httpstan_directory()
    source = program(name)
    macros = [f"-D{macro}" for macro in (*_MACROS, *(("STAN_THREADS",) if threads else ()))]
    key = hashlib.sha256(repr((source, _DRIVER.read_text(), macros, _OPTIONS, str(home))).encode())
    cache.mkdir(parents=True, exist_ok=True)
    library = cache / f"{name}-{key.hexdigest()[:16]}.so"
    if library.is_file():
        return library
    stan_file, cpp_file = library.with_suffix(".stan"), library.with_suffix(".cpp")
    stan_file.write_text(source)
    model = f"model_{name}"
    cpp_file.write_text(_run([str(home / "stanc"), "--name", model, "--print-cpp", str(stan_file)]))
    unfinished = library.with_suffix(".part")
    include, libraries = f"-I{home / 'include'}", [f"-l{one}" for one in _LIBRARIES]
    link = [f"-L{home / 'lib'}", *libraries, f"-Wl,-rpath,{home / 'lib'}"]
    _run(["g++", *_OPTIONS, *macros, include, str(cpp_file), str(_DRIVER), *link, "-o", str(unfinished)])
    unfinished.rename(library)
    return library


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-4000:]}")
    return done.stdout


class StanDensity:
    """A compiled program with its data: log density over unconstrained parameters, with all constants and Jacobian.

    Raises ValueError when Stan refuses the data or a point.
    """

    def __init__(self, library: Path, data: dict[str, Any]) -> None:
        self._library = ctypes.CDLL(str(library))
        for name, result in (
            ("open_model", ctypes.c_void_p),
            ("last_error", ctypes.c_char_p),
            ("unconstrained_names", ctypes.c_char_p),
        ):
            getattr(self._library, name).restype = result
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(data, file)
            file.flush()
            self._model = ctypes.c_void_p(self._library.open_model(file.name.encode()))
        if not self._model:
            raise ValueError(self._library.last_error().decode())
        self.names = self._library.unconstrained_names(self._model).decode().split()
        self._gradient = np.empty(len(self.names))

    def __call__(self, at: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and gradient at `at` (n_unconstrained,); the gradient's buffer is reused."""
        value = ctypes.c_double()
        failed = self._library.log_density_gradient(
            self._model,
            at.ctypes.data_as(_DOUBLES),
            ctypes.byref(value),
            self._gradient.ctypes.data_as(_DOUBLES),
        )
        if failed:
            raise ValueError(self._library.last_error().decode())
        return value.value, self._gradient
