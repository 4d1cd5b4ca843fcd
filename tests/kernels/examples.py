"""Panels and parameters of a few patients for the kernel's tests."""

from __future__ import annotations

from functools import cache

import numpy as np

from bayes_isa.kernels.evaluate import Parameters
from bayes_isa.kernels.hazard import Shape, make_shape
from bayes_isa.kernels.panels import Panels, ReferenceParameters, build_panels
from bayes_isa.kernels.timeline import Timeline
from bayes_isa.pk import Doses, Exposure, pk_exposure, typical_parameters

N = 4
EVENT_DAY = np.array([100.0, 63.5, 84.0, 30.2])
# Before the event, after it, on day 0, none at all.
VISITS = (
    np.array([0.0, 28.0, 56.0, 84.0, 112.0, 140.0]),
    np.array([0.0, 28.0, 63.5]),
    np.array([20.0]),
    np.array([]),
)


def exposure(until: float = 150.0) -> Exposure:
    """Four patients on 10 mg/kg every two weeks, the second and fourth with weekly dexamethasone."""
    weight = np.array([60.0, 70.0, 80.0, 90.0])
    parameters = typical_parameters(weight, 4.0, [1, 0, 1, 0], [0, 1, 1, 0], 0)
    days = np.arange(0.0, until, 14.0)
    isatuximab = Doses(
        np.repeat(np.arange(N), days.size), np.tile(days, N), np.repeat(10.0 * weight, days.size), 1.25
    )
    weeks = np.arange(0.0, until, 7.0)
    dexamethasone = Doses(np.repeat([1, 3], weeks.size), np.tile(weeks, 2), np.full(2 * weeks.size, 40.0))
    return pk_exposure(parameters, isatuximab, dexamethasone, until)


def parameters(n: int = N, *, seed: int = 0, beta_link: float = 6.65) -> Parameters:
    """Near the published estimates."""
    rng = np.random.default_rng(seed)
    phi = np.log([27.0, 0.00531, 0.0396, 0.0192, 170.0]) + 0.4 * rng.standard_normal((n, 5))
    return Parameters(phi, 5.47, 0.3 * rng.standard_normal(n), beta_link, 272.0, 1.56)


def timeline(
    of: Exposure, event_day: np.ndarray = EVENT_DAY, visits: tuple[np.ndarray, ...] = VISITS
) -> Timeline:
    """Time lines of patients with these PFS days and measurement days."""
    offsets = np.concatenate([[0], np.cumsum([v.size for v in visits])]).astype(np.int64)
    return Timeline(*of.breakpoints, offsets, np.concatenate(visits), event_day)


def reference(at: Parameters) -> ReferenceParameters:
    """Panels made for one parameter set."""
    scalars = (np.array([value]) for value in (at.k, at.beta_link, at.te, at.s))
    return ReferenceParameters(at.phi[None], *scalars)


def panels_of(
    line: Timeline, of: Exposure, shape: Shape, at: Parameters, *, tolerance: float = 1e-7
) -> Panels:
    """Panels accurate at parameters `at`."""
    return build_panels(line, of.evaluate, shape, reference(at), tolerance=tolerance)


@cache
def example(link: str = "slope", hazard: str = "loglogistic", effect: str = "emax") -> tuple[Panels, Shape]:
    """Panels of the four patients under a model, accurate at `parameters()`."""
    of = exposure()
    shape = make_shape(link, hazard, effect)
    return panels_of(timeline(of), of, shape, parameters()), shape
