"""Finding a simulated regimen by the name a user gives it."""

from __future__ import annotations

from collections.abc import Iterable

from bayes_isa.data.schema import nearest
from bayes_isa.errors import RegimenError
from bayes_isa.regimens import parse_regimen


def require_regimen(name: str, labels: Iterable[object]) -> str:
    """The label among `labels` that `name` means: as written, or another spelling of the same regimen.

    Raises RegimenError with the nearest label and all there are.
    """
    known = [str(label) for label in labels]
    if name in known:
        return name
    try:
        canonical = str(parse_regimen(name))
    except RegimenError:
        canonical = ""
    if canonical in known:
        return canonical
    close = nearest(name, known)
    hint = f"did you mean {close!r}? " if close else ""
    raise RegimenError(
        f"regimen {name!r} was not simulated: {hint}simulated are {', '.join(map(repr, known))}"
    )
