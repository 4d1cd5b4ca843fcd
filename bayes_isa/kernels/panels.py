"""Quadrature panels that adapt to each patient's exposure.

A patient's time line is cut at every dose, end of infusion, measurement and at the event; each panel is then bisected
until halving it once more would change neither the patient's M-protein terms nor the cumulative hazard by more than the
tolerance, at each of a spread of plausible parameter sets. Then panels make do with fewer nodes where that changes as
little. Exposure is known before the parameters are, so this is done once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bayes_isa.errors import ModelError
from bayes_isa.kernels.design import Design
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.layout import ExposureAt, assemble
from bayes_isa.kernels.path import NOTHING_KNOWN, path
from bayes_isa.kernels.quadrature import ORDERS
from bayes_isa.kernels.threads import in_turn
from bayes_isa.kernels.timeline import Cuts, Timeline, first_cuts, subset

_TIGHT = 1e-4
# Parameters between the reference sets missed 1e-6 by up to a factor of 4 in 2 % of cases: aim lower where it is cheap.
_TIGHT_SAFETY = 0.1
# Of the tolerance, for the bisection; the rest is for fewer nodes. Nodes hardly depend on it between 0.3 and 0.7.
_FOR_BISECTION = 0.5
# A panel this short (0.1 s) that still has not converged means exposure that is not a function of bounded variation.
_SHORTEST = 1e-6
# Within 10 s nobody progresses, but at parameters that make the hazard explode at once the search would go on below.
_SHORTEST_FOR_HAZARD = 1e-4
# Rounds without a fall by a third before that happens: fewer and healthy patients are refined for nothing.
_PATIENCE = 2
_MOST_ROUNDS = 40
_SCOUTS = 16
# Errors allowed in each panel alike, over an even share of the patient's: most panels have hardly any.
_SHARES = 2.0 ** np.arange(-2, 9)
# What a patient's panels may lose together is quartered, so often, where the whole loses more than its parts.
_ATTEMPTS = 3
# Cumulative hazard up to which errors count in full: survival is e^-20, so no data put a patient there.
_SURVIVED = 20.0
# Hazard within an interval below which errors count no more: parameters that give it a chance of 1 in 1000 put the
# patient elsewhere.
_LEAST_IN_INTERVAL = 1e-3


@dataclass(frozen=True)
class ReferenceParameters:
    """Parameter sets at which panels are made accurate; first axis: set.

    `phi` (n_sets, n_patients, 5), the rest (n_sets,). `hazard_lp` is 0 throughout: it only scales the hazard.
    """

    phi: np.ndarray
    k: np.ndarray
    beta_link: np.ndarray
    te: np.ndarray
    s: np.ndarray

    def and_also(self, other: ReferenceParameters) -> ReferenceParameters:
        """These sets and then the others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("phi", "k", "beta_link", "te", "s"))
        return ReferenceParameters(*(np.concatenate(pair) for pair in pairs))

    def of(self, patients: np.ndarray) -> ReferenceParameters:
        """For some patients."""
        return replace(self, phi=self.phi[:, patients])

    def first(self, n: int) -> ReferenceParameters:
        """The first `n` sets."""
        return ReferenceParameters(self.phi[:n], self.k[:n], self.beta_link[:n], self.te[:n], self.s[:n])


@dataclass(frozen=True)
class Panels:
    """The kernel's `Design`, the panels that it was made of, and the estimated error per patient."""

    design: Design
    cuts: Cuts
    error: np.ndarray  # (n_patients,) in a patient's log-likelihood, worst over the reference sets
    tolerance: float

    @property
    def panel_start(self) -> np.ndarray:
        """Day, (n_panels,)."""
        return self.cuts.start

    @property
    def panel_end(self) -> np.ndarray:
        """Day, (n_panels,)."""
        return self.cuts.end

    @property
    def n_nodes(self) -> int:
        """With those that only fill up strips."""
        return self.design.node_day.size


@dataclass(frozen=True)
class _Task:
    """What panels are made for."""

    timeline: Timeline
    exposure: ExposureAt
    shape: Shape
    marker_weight: np.ndarray  # (n_patients,)
    aim: float  # error allowed in a patient's log-likelihood

    def of(self, chosen: np.ndarray) -> _Task:
        """The same for some patients, who get new numbers."""

        def exposure(patient: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.exposure(chosen[patient], day)

        weight = self.marker_weight[chosen]
        return replace(self, timeline=subset(self.timeline, chosen), exposure=exposure, marker_weight=weight)

    def design(self, cuts: Cuts) -> Design:
        return assemble(cuts, self.timeline, self.exposure)


def build_panels(
    timeline: Timeline,
    exposure: ExposureAt,
    shape: Shape,
    reference: ReferenceParameters,
    *,
    tolerance: float = 1e-3,
    marker_weight: np.ndarray | float = 15.0,
    order: int | None = None,
) -> Panels:
    """Panels whose error in any patient's log-likelihood stays below `tolerance` at the reference parameters.

    `marker_weight`, scalar or (n_patients,): how much an error of 1 in log M at a measurement changes the
    log-likelihood (measurements add up). `order`, of ORDERS: nodes of every panel, where not as few as do. Raises
    ModelError when a panel does not converge, naming the patient's position and day.
    """
    aim = tolerance if tolerance >= _TIGHT else _TIGHT_SAFETY * tolerance
    weight = np.broadcast_to(np.asarray(marker_weight, dtype=float), timeline.event_day.shape)
    task = _Task(timeline, exposure, shape, weight, _FOR_BISECTION * aim)
    cuts = first_cuts(timeline, order or ORDERS[0])
    # The first few sets find most of the panels at a fraction of the cost of all of them.
    if reference.k.size > _SCOUTS:
        cuts, _ = _refined(cuts, task, reference.first(_SCOUTS))
    cuts, error = _refined(cuts, task, reference)
    if order is not None:
        return Panels(task.design(cuts), cuts, error, tolerance)
    cuts, lost = _with_fewer_nodes(cuts, replace(task, aim=(1.0 - _FOR_BISECTION) * aim), reference)
    return Panels(task.design(cuts), cuts, error + lost, tolerance)


def _refined(cuts: Cuts, task: _Task, reference: ReferenceParameters) -> tuple[Cuts, np.ndarray]:
    """Panels bisected until no patient's error exceeds the aim at any set, and the errors (n_patients,)."""
    n_patients = task.timeline.n_patients
    error = np.zeros(n_patients)
    active = np.ones(n_patients, dtype=bool)
    before = np.full(n_patients, np.inf)
    stuck = np.zeros(n_patients, dtype=np.int64)
    for _ in range(_MOST_ROUNDS):
        working = active[cuts.patient]
        patient = cuts.patient[working]
        split = np.zeros(patient.size, dtype=bool)
        worst = np.zeros(n_patients)
        for change in _panel_changes(cuts.of(working), task, reference):
            of_patient = np.bincount(patient, weights=change, minlength=n_patients)
            worst = np.maximum(worst, of_patient)
            if np.any(of_patient > task.aim):
                split |= _largest(change, patient, 0.5 * task.aim) & (of_patient > task.aim)[patient]
        error[active] = worst[active]
        # An error in J on an early panel shows in the hazard of all later ones, where bisection cannot mend it: a
        # patient whose error has not fallen for a few rounds has every panel bisected.
        stuck = np.where(worst > 0.7 * before, stuck + 1, 0)
        hopeless = active & (worst > task.aim) & (stuck >= _PATIENCE)
        split |= hopeless[patient]
        stuck[hopeless] = 0
        before = worst
        if not split.any():
            return cuts, error
        which = np.zeros(cuts.patient.size, dtype=bool)
        which[np.flatnonzero(working)[split]] = True
        _refuse_endless(cuts, which)
        cuts = cuts.bisected(which)
        active = error > task.aim
    raise ModelError(f"the quadrature panels did not converge in {_MOST_ROUNDS} rounds of bisection")


def _largest(change: np.ndarray, patient: np.ndarray, allowed: float) -> np.ndarray:
    """Marks the panels with the largest changes, as few as leave at most `allowed` in each patient's others."""
    order = np.lexsort((change, patient))
    # Cut off, as all above `allowed` are marked anyway: one huge change must not drown the small ones in rounding.
    total = np.cumsum(np.minimum(change[order], 2.0 * allowed))
    first = np.searchsorted(patient[order], patient[order])
    before = np.where(first > 0, total[first - 1], 0.0)
    largest = np.empty(change.size, dtype=bool)
    largest[order] = total - before > allowed
    return largest


def _refuse_endless(cuts: Cuts, which: np.ndarray) -> None:
    short = which & (cuts.end - cuts.start < _SHORTEST)
    if short.any():
        worst = int(np.flatnonzero(short)[0])
        raise ModelError(
            f"the quadrature does not converge for patient number {cuts.patient[worst]} near day "
            f"{cuts.start[worst]:.6g}: expected exposure that is smooth between doses and ends of infusion; "
            "check that patient's doses and pharmacokinetic parameters, or ask for a larger tolerance"
        )


def _panel_changes(cuts: Cuts, task: _Task, reference: ReferenceParameters) -> Iterator[np.ndarray]:
    """For each parameter set, how much bisecting each panel changes its patient's log-likelihood."""
    chosen, renumbered = np.unique(cuts.patient, return_inverse=True)
    local, own = replace(cuts, patient=renumbered), task.of(chosen)
    reference = reference.of(chosen)
    coarse, fine = own.design(local), own.design(local.bisected(np.ones(local.patient.size, dtype=bool)))
    change = _Change(local, own, coarse)

    def ends(number: int) -> tuple[_Ends, _Ends]:
        integral, hazard = _ends(fine, own, reference, number)
        return _ends(coarse, own, reference, number), (integral[1::2], hazard[1::2])

    for phi, (whole, halves) in zip(reference.phi, in_turn(ends, reference.k.size), strict=True):
        yield change(phi, whole, halves)


def _with_fewer_nodes(cuts: Cuts, task: _Task, reference: ReferenceParameters) -> tuple[Cuts, np.ndarray]:
    """The panels with as few nodes as the aim allows, and the errors (n_patients,) that this brings in."""
    full, sets = task.design(cuts), reference.k.size
    exact = list(in_turn(lambda number: _ends(full, task, reference, number), sets))
    change = _Change(cuts, task, full)
    starts = [_starts(integral, full.panel_offset[:-1]) for integral, _ in exact]
    lost = np.zeros((len(ORDERS), cuts.patient.size))

    def ends(design: Design, known: bool) -> Iterator[tuple[np.ndarray, _Ends, _Ends]]:
        """phi of each set, J and H of the design at it and the exact ones; `known`: J at panels' starts exact too."""

        def own(number: int) -> _Ends:
            return _ends(design, task, reference, number, starts[number] if known else NOTHING_KNOWN)

        return zip(reference.phi, in_turn(own, sets), exact, strict=True)

    for rank, order in enumerate(ORDERS[1:], start=1):
        design = task.design(replace(cuts, order=np.full_like(cuts.order, order)))
        for phi, own, at in ends(design, known=True):  # each panel is to answer for itself alone
            lost[rank] = np.maximum(lost[rank], change(phi, own, at, all_hazards=True))
    aim = np.full(task.timeline.n_patients, task.aim)
    for _ in range(_ATTEMPTS):
        fewer = replace(cuts, order=_lowest_orders(lost, cuts.patient, aim))
        design = task.design(fewer)
        error = np.zeros_like(aim)
        for phi, own, at in ends(design, known=False):
            of_panel = change(phi, own, at)
            error = np.maximum(error, np.bincount(cuts.patient, of_panel, aim.size))
        if np.all(error <= task.aim):
            return fewer, error
        aim = np.where(error > task.aim, 0.25 * aim, aim)
    met = error <= task.aim
    return replace(cuts, order=np.where(met[cuts.patient], fewer.order, ORDERS[0])), np.where(met, error, 0.0)


def _lowest_orders(lost: np.ndarray, patient: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """Order of each panel, so that what is `lost` (order, panel) adds up to no more than each patient's aim."""
    share = aim / np.maximum(np.bincount(patient, minlength=aim.size), 1)
    chosen = np.zeros(patient.size, dtype=np.int64)
    for factor in _SHARES:
        allowed = lost <= factor * share[patient]
        rank = np.max(np.arange(len(lost))[:, None] * allowed, axis=0)
        total = np.bincount(patient, np.take_along_axis(lost, rank[None], axis=0)[0], aim.size)
        chosen = np.where((total <= aim)[patient], rank, chosen)
    return np.array(ORDERS)[chosen]


class _Change:
    """By how much panels change their patients' log-likelihoods."""

    def __init__(self, cuts: Cuts, task: _Task, design: Design) -> None:
        timeline = task.timeline
        n_measured = np.diff(timeline.measurement_offset)
        last_measured = np.maximum.reduceat(
            np.concatenate([timeline.measurement_day, [0.0]]),
            np.minimum(timeline.measurement_offset[:-1], timeline.measurement_day.size),
        )
        last_measured = np.where(n_measured > 0, last_measured, 0.0)
        self._cuts, self._timeline, self._design = cuts, timeline, design
        # An error in J within a panel shifts log M at all later measurements.
        self._weight = (task.marker_weight * n_measured)[cuts.patient] * (
            cuts.start < last_measured[cuts.patient]
        )
        self._long = cuts.end - cuts.start > _SHORTEST_FOR_HAZARD
        self._interval_censored = bool(np.any(design.free_panels < design.hazard_panels))

    def __call__(
        self, phi: np.ndarray, given: _Ends, better: _Ends, *, all_hazards: bool = False
    ) -> np.ndarray:
        """Of the J and H at the panels' ends that are given, against better ones, at individual parameters phi.

        With `all_hazards` a hazard counts for less only once it has exploded in an earlier panel: within the panel in
        which it does, event times are still to be found. Bisection would not come to an end there.
        """
        first = self._design.panel_offset[:-1]
        in_j = np.abs(_increments(given[0] - better[0], first))
        with np.errstate(invalid="ignore"):  # both infinite
            in_h = np.abs(_increments(given[1] - better[1], first))
        if all_hazards:
            of_hazard = _of_hazard(in_h, _starts(better[1], first))
        else:
            of_hazard = np.where(self._long, _of_hazard(in_h, better[1]), 0.0)
        if self._interval_censored:
            of_hazard *= _of_interval(self._design, self._cuts, self._timeline, given[1])
        return self._weight * np.exp(phi[self._cuts.patient, 2]) * in_j + of_hazard


_Ends = tuple[np.ndarray, np.ndarray]  # J and the cumulative hazard at the ends of panels


def _ends(
    design: Design,
    task: _Task,
    reference: ReferenceParameters,
    number: int,
    known: np.ndarray = NOTHING_KNOWN,
) -> _Ends:
    """At one reference set; `known`: J at the panels' starts, where not to be found anew."""
    n_panels = design.panel_offset[-1]
    integral, hazard = np.empty(n_panels), np.empty(n_panels)
    path(
        design,
        task.shape,
        np.ascontiguousarray(reference.phi[number]),
        reference.k[number],
        np.zeros(design.event_day.size),
        reference.beta_link[number],
        reference.te[number],
        reference.s[number],
        known,
        integral,
        hazard,
        np.empty(design.node_day.size),
    )
    return integral, hazard


def _of_hazard(change: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """The log-likelihood's part of changes in the hazard's panel integrals; `reached` is H where each panel ends.

    Unchecked growth makes the hazard explode. Nobody is followed there (survival is exp(-H)), so what a panel adds once
    H is far above 1 counts less and less, and not at all after an overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        counted = change / np.maximum(1.0, reached / _SURVIVED) ** 2
    return np.where(np.isfinite(counted), counted, 0.0)


def _of_interval(design: Design, cuts: Cuts, timeline: Timeline, hazard: np.ndarray) -> np.ndarray:
    """By how much the log-likelihood magnifies errors of panels within a patient's interval: d log(1 - e^-H) / dH."""
    cumulative = np.concatenate([[0.0], hazard])
    ends = design.panel_offset[:-1] + design.hazard_panels
    starts = design.panel_offset[:-1] + design.free_panels
    with np.errstate(over="ignore", invalid="ignore"):  # both infinite: a hazard that explodes
        within = cumulative[ends] - np.where(design.free_panels > 0, cumulative[starts], 0.0)
        within = np.where(np.isnan(within), np.inf, within)
        factor = 1.0 / np.expm1(np.maximum(within, _LEAST_IN_INTERVAL))
    inside = cuts.start >= timeline.stretches[1][cuts.patient]
    return np.where(inside, np.maximum(factor, 1.0)[cuts.patient], 1.0)


def _starts(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """What holds at the start of each panel, from what holds at its end."""
    starts = np.concatenate([[0.0], values[:-1]])
    starts[first] = 0.0
    return starts


def _increments(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Differences along panels, starting anew at each patient's first."""
    steps = np.diff(values, prepend=0.0)
    steps[first] = values[first]
    return steps
