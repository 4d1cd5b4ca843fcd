"""What `build_model` looks for before there is a model: where the posterior is, and panels that are accurate there."""

from __future__ import annotations

from typing import NamedTuple

from bayes_isa.data import Trial
from bayes_isa.model import cache
from bayes_isa.model.joint_data import JointData, KnownPanels, prepare, with_panels_for
from bayes_isa.model.priors import PriorSet
from bayes_isa.model.spec import ModelSpec
from bayes_isa.model.warm_start import WarmStart, warm_start


class _Found(NamedTuple):
    start: WarmStart
    panels: KnownPanels


def searched(trial: Trial, priors: PriorSet, spec: ModelSpec) -> tuple[JointData, WarmStart]:
    """The trial made ready with panels for its posterior, and the warm start.

    Both are kept on disk (`bayes_isa.model.cache`): the next model of the same data has them at once, the same to the
    last bit.
    """
    entry = cache.entry(trial, priors, spec)
    found = entry.read()
    if isinstance(found, _Found):
        return prepare(trial, spec, known=found.panels), found.start
    data = prepare(trial, spec, rough=True)
    start = warm_start(data, priors)
    data = with_panels_for(data, start.plausible)
    entry.write(_Found(start, KnownPanels(data.panels.cuts, data.panels.error)))
    return data, start
