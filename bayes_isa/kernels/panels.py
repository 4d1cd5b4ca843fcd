"""Quadrature panels that adapt to each patient's exposure.

A patient's time line is cut at every dose, end of infusion, measurement and at the event; each panel is then bisected
until halving it once more would change neither the patient's M-protein terms nor the cumulative hazard by more than the
tolerance, at each of a spread of plausible parameter sets. Exposure is known before the parameters are, so this is
done once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bayes_isa.errors import ModelError
from bayes_isa.kernels.hazard import Shape
from bayes_isa.kernels.quadrature import Rule, gauss_legendre
from bayes_isa.kernels.trajectory import Design, path

# exposure(patient, day) -> (effect, dexamethasone), each like `day`; left limits at jumps.
ExposureAt = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# Nodes a panel. Nodes for 201 patients by orders 3, 4 ... 8, measured by tests/benchmarks/bench_quadrature.py: at a
# tolerance of 1e-3 165, 124, 112, 109, 111, 113 thousand; at 1e-6 452 (order 5), 318, 268, 242 thousand.
ORDER = 6
_TIGHT = 1e-4
_TIGHT_ORDER = 8
# Parameters between the reference sets missed 1e-6 by up to a factor of 4 in 2 % of cases: aim lower where it is cheap.
_TIGHT_SAFETY = 0.1
# Cuts closer than a tenth of a second are one cut: dose and visit times carry rounding of that size.
_SAME_TIME = 1e-6
# A panel this short (0.1 s) that still has not converged means exposure that is not a function of bounded variation.
_SHORTEST = 1e-6
# Within 10 s nobody progresses, but at parameters that make the hazard explode at once the search would go on below.
_SHORTEST_FOR_HAZARD = 1e-4
# Rounds without a fall by a third before that happens: fewer and healthy patients are refined for nothing.
_PATIENCE = 2
_MOST_ROUNDS = 40
_SCOUTS = 16
# On the panel that starts at day 0 time is t = end * u^4, u in (0, 1): it turns the hazard's t^(s-1) into a smooth
# u^(4s-1), where bisection alone would need a dozen panels.
_GRADING = 4
# Cumulative hazard up to which errors count in full: survival is e^-20, so no data put a patient there.
_SURVIVED = 20.0
# Hazard within an interval below which errors count no more: parameters that give it a chance of 1 in 1000 put the
# patient elsewhere.
_LEAST_IN_INTERVAL = 1e-3


def panel_day(start: np.ndarray, end: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Day t at x in [-1, 1] of panels (broadcast together), and dt/dx."""
    u = 0.5 * (x + 1.0)
    first = start == 0.0
    width = end - start
    day = np.where(first, width * u**_GRADING, start + width * u)
    return day, 0.5 * width * np.where(first, _GRADING * u ** (_GRADING - 1), 1.0)


@dataclass(frozen=True)
class Timeline:
    """What fixes a patient's cuts: CSR lists of exposure breakpoints and measurements, and the event.

    Days, all >= 0 but measurements.
    """

    break_offset: np.ndarray  # (n_patients + 1,)
    break_day: np.ndarray
    measurement_offset: np.ndarray  # (n_patients + 1,)
    measurement_day: np.ndarray  # sorted within a patient; before the first dose is allowed
    event_day: np.ndarray  # (n_patients,), > 0; the upper end of an interval
    entry_day: np.ndarray | None = None  # (n_patients,) start of observation; None: day 0 for all
    free_day: np.ndarray | None = (
        None  # (n_patients,) last known free of progression; None: event_day for all
    )

    @property
    def n_patients(self) -> int:
        return self.event_day.size

    @property
    def stretches(self) -> tuple[np.ndarray, np.ndarray]:
        """`entry_day` and `free_day` with their defaults, (n_patients,) each."""
        entry = np.zeros(self.n_patients) if self.entry_day is None else self.entry_day
        return entry, self.event_day if self.free_day is None else self.free_day


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

    def first(self, n: int) -> ReferenceParameters:
        """The first `n` sets."""
        return ReferenceParameters(self.phi[:n], self.k[:n], self.beta_link[:n], self.te[:n], self.s[:n])


@dataclass(frozen=True)
class Panels:
    """The kernel's `Design` with its quadrature rule, the panels' bounds (days) and the estimated error per patient."""

    design: Design
    rule: Rule
    panel_start: np.ndarray  # (n_panels,)
    panel_end: np.ndarray
    error: (
        np.ndarray
    )  # (n_patients,) estimated error of a patient's log-likelihood, worst over the reference sets
    tolerance: float

    @property
    def n_nodes(self) -> int:
        return self.design.node_day.size


@dataclass(frozen=True)
class _Cuts:
    """Panel starts and ends, patients one after another."""

    patient: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def bisected(self, which: np.ndarray) -> _Cuts:
        middle = 0.5 * (self.start + self.end)
        repeat = np.where(which, 2, 1)
        patient = np.repeat(self.patient, repeat)
        start = np.repeat(self.start, repeat)
        end = np.repeat(self.end, repeat)
        left = np.cumsum(repeat) - repeat
        end[left[which]] = middle[which]
        start[left[which] + 1] = middle[which]
        return _Cuts(patient, start, end)

    def of(self, chosen: np.ndarray) -> _Cuts:
        return _Cuts(self.patient[chosen], self.start[chosen], self.end[chosen])


@dataclass(frozen=True)
class _Task:
    """What panels are made for."""

    timeline: Timeline
    exposure: ExposureAt
    shape: Shape
    rule: Rule
    marker_weight: np.ndarray  # (n_patients,)
    aim: float  # error allowed in a patient's log-likelihood


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
    log-likelihood (measurements add up). Raises ModelError when a panel does not converge, naming the patient's
    position and day.
    """
    usual, aim = (ORDER, tolerance) if tolerance >= _TIGHT else (_TIGHT_ORDER, _TIGHT_SAFETY * tolerance)
    rule = gauss_legendre(usual if order is None else order)
    weight = np.broadcast_to(np.asarray(marker_weight, dtype=float), timeline.event_day.shape)
    task = _Task(timeline, exposure, shape, rule, weight, aim)
    cuts = _first_cuts(timeline)
    # The first few sets find most of the panels at a fraction of the cost of all of them.
    if reference.k.size > _SCOUTS:
        cuts, _ = _refined(cuts, task, reference.first(_SCOUTS))
    cuts, error = _refined(cuts, task, reference)
    design = _assemble(cuts, timeline, exposure, rule)
    return Panels(design, rule, cuts.start, cuts.end, error, tolerance)


def _refined(cuts: _Cuts, task: _Task, reference: ReferenceParameters) -> tuple[_Cuts, np.ndarray]:
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


def _refuse_endless(cuts: _Cuts, which: np.ndarray) -> None:
    short = which & (cuts.end - cuts.start < _SHORTEST)
    if short.any():
        worst = int(np.flatnonzero(short)[0])
        raise ModelError(
            f"the quadrature does not converge for patient number {cuts.patient[worst]} near day "
            f"{cuts.start[worst]:.6g}: expected exposure that is smooth between doses and ends of infusion; "
            "check that patient's doses and pharmacokinetic parameters, or ask for a larger tolerance"
        )


def _first_cuts(timeline: Timeline) -> _Cuts:
    patients, starts, ends = [], [], []
    entry, free = timeline.stretches
    for i in range(timeline.n_patients):
        measured = timeline.measurement_day[
            timeline.measurement_offset[i] : timeline.measurement_offset[i + 1]
        ]
        event = timeline.event_day[i]
        last = max(event, measured[-1]) if measured.size else event
        breaks = timeline.break_day[timeline.break_offset[i] : timeline.break_offset[i + 1]]
        kept = np.concatenate([[0.0, event, entry[i], free[i]], measured[measured > 0.0]])
        # Measurements and the event must be panel ends exactly, so a breakpoint gives way to one next to it.
        near = np.min(np.abs(breaks[:, None] - kept), axis=1, initial=np.inf) < _SAME_TIME
        day = np.unique(np.concatenate([kept, breaks[(breaks > 0.0) & (breaks < last) & ~near]]))
        patients.append(np.full(day.size - 1, i))
        starts.append(day[:-1])
        ends.append(day[1:])
    return _Cuts(np.concatenate(patients), np.concatenate(starts), np.concatenate(ends))


def _assemble(cuts: _Cuts, timeline: Timeline, exposure: ExposureAt, rule: Rule) -> Design:
    """The kernel's arrays for given cuts of all patients; each patient's nodes up to the event come first."""
    n_patients = timeline.n_patients
    order = rule.order
    panel_offset = np.concatenate([[0], np.cumsum(np.bincount(cuts.patient, minlength=n_patients))])
    event_at_panel = timeline.event_day[cuts.patient]
    before_event = cuts.end <= event_at_panel
    hazard_panels = np.bincount(cuts.patient, weights=before_event, minlength=n_patients).astype(np.int64)
    entry_panels, free_panels = (
        np.bincount(cuts.patient, cuts.end <= day[cuts.patient], n_patients).astype(np.int64)
        for day in timeline.stretches
    )

    position = np.arange(cuts.patient.size) - panel_offset[cuts.patient]
    used = hazard_panels[cuts.patient]
    total = np.diff(panel_offset)[cuts.patient]
    in_block = np.where(before_event, position, position - used)
    width = np.where(before_event, used, total - used)
    block = order * panel_offset[cuts.patient] + np.where(before_event, 0, order * used)
    place = (block + in_block)[:, None] + width[:, None] * np.arange(order)

    n_nodes = order * cuts.patient.size
    day = np.empty(n_nodes)
    weight = np.empty(n_nodes)
    patient = np.empty(n_nodes, dtype=np.int64)
    day[place], stretch = panel_day(cuts.start[:, None], cuts.end[:, None], rule.node)
    weight[place] = stretch * rule.weight
    patient[place] = cuts.patient[:, None]
    effect, dexamethasone = exposure(patient, day)
    event_effect, event_dexamethasone = exposure(np.arange(n_patients), timeline.event_day)

    counts = np.diff(timeline.measurement_offset)
    measurement_patient = np.repeat(np.arange(n_patients), counts)
    measurement_panel = _panels_before(cuts, panel_offset, measurement_patient, timeline.measurement_day)
    return Design(
        panel_offset=panel_offset.astype(np.int64),
        hazard_panels=hazard_panels,
        entry_panels=entry_panels,
        free_panels=free_panels,
        node_weight=weight,
        node_day=day,
        node_log_day=np.log(day),
        node_effect=np.ascontiguousarray(effect, dtype=float),
        node_dexamethasone=np.ascontiguousarray(dexamethasone, dtype=float),
        event_day=timeline.event_day.astype(float),
        event_effect=np.ascontiguousarray(event_effect, dtype=float),
        event_dexamethasone=np.ascontiguousarray(event_dexamethasone, dtype=float),
        measurement_offset=timeline.measurement_offset.astype(np.int64),
        measurement_day=timeline.measurement_day.astype(float),
        measurement_panel=measurement_panel,
    )


def _panels_before(cuts: _Cuts, panel_offset: np.ndarray, patient: np.ndarray, day: np.ndarray) -> np.ndarray:
    """How many panels of `patient` end at or before `day`."""
    # One search in all patients' ends: shift each patient's days into a range of its own.
    span = 1.0 + max(cuts.end.max(initial=0.0), day.max(initial=0.0))
    ends = cuts.end + span * cuts.patient
    found = np.searchsorted(ends, np.maximum(day, 0.0) + span * patient, side="right")
    return (found - panel_offset[patient]).astype(np.int64)


def _panel_changes(cuts: _Cuts, task: _Task, reference: ReferenceParameters) -> Iterator[np.ndarray]:
    """For each parameter set, how much bisecting each panel changes its patient's log-likelihood."""
    chosen, renumbered = np.unique(cuts.patient, return_inverse=True)
    local = _Cuts(renumbered, cuts.start, cuts.end)
    part = _subset(task.timeline, chosen)

    def exposure_of(patient: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return task.exposure(chosen[patient], day)

    coarse = _assemble(local, part, exposure_of, task.rule)
    fine = _assemble(local.bisected(np.ones(local.patient.size, dtype=bool)), part, exposure_of, task.rule)
    n_measured = np.diff(part.measurement_offset)
    last_measured = np.maximum.reduceat(
        np.concatenate([part.measurement_day, [0.0]]),
        np.minimum(part.measurement_offset[:-1], part.measurement_day.size),
    )
    last_measured = np.where(n_measured > 0, last_measured, 0.0)
    # An error in J within a panel shifts log M at all later measurements.
    weight = (task.marker_weight[chosen] * n_measured)[local.patient] * (
        local.start < last_measured[local.patient]
    )
    long = local.end - local.start > _SHORTEST_FOR_HAZARD
    first = coarse.panel_offset[:-1]
    interval_censored = bool(np.any(coarse.free_panels < coarse.hazard_panels))
    for number in range(reference.k.size):
        phi = np.ascontiguousarray(reference.phi[number, chosen])
        integral, hazard = _ends(coarse, task, reference, number, phi)
        fine_integral, fine_hazard = _ends(fine, task, reference, number, phi)
        in_j = np.abs(_increments(integral - fine_integral[1::2], first))
        with np.errstate(invalid="ignore"):  # both infinite
            in_h = np.abs(_increments(hazard - fine_hazard[1::2], first))
        of_hazard = np.where(long, _of_hazard(in_h, fine_hazard[1::2]), 0.0)
        if interval_censored:
            of_hazard *= _of_interval(coarse, local, part, hazard)
        yield weight * np.exp(phi[local.patient, 2]) * in_j + of_hazard


def _ends(
    design: Design, task: _Task, reference: ReferenceParameters, number: int, phi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """J and the cumulative hazard at the ends of panels, at one reference set."""
    n_panels = design.panel_offset[-1]
    integral, hazard = np.empty(n_panels), np.empty(n_panels)
    path(
        design,
        task.rule,
        task.shape,
        phi,
        reference.k[number],
        np.zeros(phi.shape[0]),
        reference.beta_link[number],
        reference.te[number],
        reference.s[number],
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


def _of_interval(design: Design, cuts: _Cuts, timeline: Timeline, hazard: np.ndarray) -> np.ndarray:
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


def _increments(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Differences along panels, starting anew at each patient's first."""
    steps = np.diff(values, prepend=0.0)
    steps[first] = values[first]
    return steps


def _subset(timeline: Timeline, chosen: np.ndarray) -> Timeline:
    """The time line of some patients (breakpoints are no longer needed)."""
    counts = np.diff(timeline.measurement_offset)[chosen]
    rows = [np.arange(timeline.measurement_offset[i], timeline.measurement_offset[i + 1]) for i in chosen]
    return Timeline(
        break_offset=np.zeros(chosen.size + 1, dtype=np.int64),
        break_day=np.empty(0),
        measurement_offset=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        measurement_day=timeline.measurement_day[np.concatenate(rows)] if rows else np.empty(0),
        event_day=timeline.event_day[chosen],
        entry_day=timeline.stretches[0][chosen],
        free_day=timeline.stretches[1][chosen],
    )
