"""Write the API reference from docstrings into docs/api/: `python docs/api.py`. Any warning is an error."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

import bayes_isa

HERE = Path(__file__).parent
OUT = HERE / "api"
LEFT_OUT = ("bayes_isa.cli", "bayes_isa.__main__")  # documented by their --help


def modules() -> list[str]:
    """The package and all its public modules, each once: pdoc adds those of a package without `__all__` by itself."""
    chosen: list[str] = ["bayes_isa"]
    for found in pkgutil.walk_packages(bayes_isa.__path__, "bayes_isa."):
        parent, _, leaf = found.name.rpartition(".")
        if not leaf.startswith("_") and hasattr(import_module(parent), "__all__"):
            chosen += [] if found.name.startswith(LEFT_OUT) else [found.name]
    return chosen


def main() -> None:
    """Import everything, render it, and fail on the first warning."""
    import pdoc

    for name in bayes_isa.__all__:
        getattr(bayes_isa, name)  # public names are imported when first used
    names = modules()
    warnings.simplefilter("error")
    # The constructor of a NamedTuple does not know its module, where its annotations could be looked up; they are shown
    # as written.
    warnings.filterwarnings("ignore", r"Error parsing type annotation ForwardRef\(.*__(init|new)__")
    pdoc.render.configure(template_directory=HERE / "api_template", footer_text="bayes_isa", search=True)
    pdoc.pdoc(*names, output_directory=OUT)
    print(f"{len(names)} modules written to {OUT}", file=sys.stderr)


if __name__ == "__main__":
    main()
