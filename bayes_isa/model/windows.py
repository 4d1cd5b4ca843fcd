"""Reference days and mean exposures of the response coordinates, and the map for all patients at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit

from bayes_isa.kernels.response import N_INTEGRALS, Window, phi_by_psi, phi_from_psi, psi_from_phi
from bayes_isa.model.joint_data import JointData
from bayes_isa.pk import mean_exposure

# A value above this multiple of its LLOQ has a residual error near its proportional part: it fixes the curve.
_CLEARLY_ABOVE = 3.0
SAMPLES = 8  # concentrations per interval: enough to tell an empty plasma from a full one, and one vector
_EARLIEST = 1e-290  # days: keeps the mean exposure of an interval that has no length finite
_HALF = 4  # on either side of ta; halving it visibly curves the valleys again, doubling it changes little
INTERVALS = 2 * _HALF


def response_windows(data: JointData) -> list[Window]:
    """Candidates; tb: the last assessment clearly above the LLOQ, else the first after baseline, else the PFS time.

    ta is the middle one of the assessments clearly above, baseline, or the first after it. The last window is open: up
    to the PFS time, as walls stand at the end of follow-up.
    """
    event = data.panels.design.event_day
    tb, middle, first = (np.empty(data.trial.n_patients) for _ in range(3))
    for i, (days, clear) in enumerate(_assessments(data)):
        known = days[clear]
        tb[i] = [event[i], *days[:1], *known[-1:]][-1]
        middle[i] = np.concatenate([[0.0], known])[(known.size + 1) // 2]
        first[i] = min([tb[i], *days[:1]])
    windows = [_window(data, ta, tb) for ta in (middle, 0.0 * tb, first)]
    # Of a patient without an assessment after baseline only the PFS time is known: its wall is across the net change.
    assessed = np.array([days.size > 0 for days, _ in _assessments(data)])
    return [*windows, _window(data, 0.0 * tb, event)._replace(open=assessed)]


def _assessments(data: JointData) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each patient the days of its assessments after baseline, and which are clearly above their LLOQ."""
    offsets = data.panels.design.measurement_offset
    days = data.panels.design.measurement_day
    clear = ~data.below & (data.value > _CLEARLY_ABOVE * data.lloq)
    for first, last in pairwise(offsets):
        after = days[first:last] > 0.0
        yield days[first:last][after], clear[first:last][after]


def _window(data: JointData, ta: np.ndarray, tb: np.ndarray) -> Window:
    edge = _edges(ta, tb)
    concentration, dexamethasone = _concentrations(data, edge), _mean_dexamethasone(data, edge)
    closed = np.zeros(tb.shape, dtype=bool)
    return Window(ta, tb, edge, concentration, dexamethasone, closed, data.shape.effect_saturation)


def _edges(ta: np.ndarray, tb: np.ndarray) -> np.ndarray:
    """Days 0 to tb in intervals that widen with time, as exposure changes most at first; ta is an edge."""
    middle = np.where(ta > 0.0, ta, 0.5 * tb)
    rising = np.linspace(0.0, 1.0, _HALF + 1)[:-1] ** 2
    even = np.linspace(0.0, 1.0, _HALF + 1)
    before = middle[:, None] * rising
    after = middle[:, None] + (tb - middle)[:, None] * even
    after[:, 0], after[:, -1] = middle, tb
    return np.concatenate([before, after], axis=1)


def _concentrations(data: JointData, edge: np.ndarray) -> np.ndarray:
    """Concentrations at evenly spaced times of every interval, (n_patients, n_intervals, SAMPLES).

    Not their mean: where plasma empties between doses, the mean of E is far from E of the mean.
    """
    within = (np.arange(SAMPLES) + 0.5) / SAMPLES
    day = edge[:, :-1, None] + np.diff(edge, axis=1)[:, :, None] * within
    patient = np.broadcast_to(np.arange(len(edge))[:, None, None], day.shape)
    effect, _ = data.exposure.evaluate(patient.ravel(), day.ravel())
    return effect.reshape(day.shape)


def _mean_dexamethasone(data: JointData, edge: np.ndarray) -> np.ndarray:
    """Mean dexamethasone over each interval, from exact integrals up to its ends."""
    totals = [np.zeros(len(edge))]
    totals += [mean_exposure(data.exposure, np.maximum(day, _EARLIEST))[1] * day for day in edge[:, 1:].T]
    width = np.diff(edge, axis=1)
    means = np.diff(np.stack(totals, axis=1), axis=1) / np.where(width > 0.0, width, 1.0)
    return np.ascontiguousarray(means).clip(min=0.0)


@dataclass(frozen=True)
class Mapped:
    """phi at psi with derivatives, all patients: see `bayes_isa.kernels.response`."""

    phi: np.ndarray
    log_jacobian: np.ndarray
    by_psi: np.ndarray
    log_jacobian_by_psi: np.ndarray


def map_all(window: Window, psi: np.ndarray, k: float) -> Mapped:
    """phi (n_patients, d) and its derivatives at psi (n_patients, d)."""
    n, d = psi.shape
    mapped = Mapped(np.empty((n, d)), np.empty(n), np.empty((n, d, d)), np.empty((n, d)))
    _map_all(window, psi, k, mapped.phi, mapped.log_jacobian, mapped.by_psi, mapped.log_jacobian_by_psi)
    return mapped


def psi_all(window: Window, phi: np.ndarray, k: float) -> np.ndarray:
    """psi (n_patients, d) at phi (n_patients, d)."""
    psi = np.empty_like(phi)
    _psi_all(window, phi, k, psi)
    return psi


@njit(nogil=True, cache=True, error_model="numpy")
def _map_all(window, psi, k, phi, log_jacobian, by_psi, log_jacobian_by_psi):
    by_k, integrals = np.empty(psi.shape[1]), np.empty(N_INTEGRALS)
    for i in range(psi.shape[0]):
        log_jacobian[i] = phi_from_psi(window, i, psi[i], k, phi[i], integrals)
        phi_by_psi(window, i, psi[i], integrals, by_psi[i], by_k, log_jacobian_by_psi[i])


@njit(nogil=True, cache=True, error_model="numpy")
def _psi_all(window, phi, k, psi):
    for i in range(phi.shape[0]):
        psi_from_phi(window, i, phi[i], k, psi[i])
