"""A patient's time line and the panels that it is cut into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayes_isa.kernels.design import parts_of

# Cuts closer than a tenth of a second are one cut: dose and visit times carry rounding of that size.
_SAME_TIME = 1e-6
# On the panel that starts at day 0 time is t = end * u^4, u in (0, 1): it turns the hazard's t^(s-1) into a smooth
# u^(4s-1), where bisection alone would need a dozen panels.
GRADING = 4


def panel_day(start: np.ndarray, end: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Day t at x in [-1, 1] of panels (broadcast together), and dt/dx."""
    u = 0.5 * (x + 1.0)
    first = start == 0.0
    width = end - start
    day = np.where(first, width * u**GRADING, start + width * u)
    return day, 0.5 * width * np.where(first, GRADING * u ** (GRADING - 1), 1.0)


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
class Cuts:
    """Panels, patients one after another and panels in order of time: patient, first and last day, number of nodes."""

    patient: np.ndarray
    start: np.ndarray
    end: np.ndarray
    order: np.ndarray

    def bisected(self, which: np.ndarray) -> Cuts:
        """With the marked panels cut in halves."""
        middle = 0.5 * (self.start + self.end)
        repeat = np.where(which, 2, 1)
        start, end = np.repeat(self.start, repeat), np.repeat(self.end, repeat)
        left = np.cumsum(repeat) - repeat
        end[left[which]] = middle[which]
        start[left[which] + 1] = middle[which]
        return Cuts(np.repeat(self.patient, repeat), start, end, np.repeat(self.order, repeat))

    def of(self, chosen: np.ndarray) -> Cuts:
        """The chosen panels alone."""
        return Cuts(self.patient[chosen], self.start[chosen], self.end[chosen], self.order[chosen])


def first_cuts(timeline: Timeline, order: int) -> Cuts:
    """Panels of one order between all that must be a panel's end."""
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
    patient = np.concatenate(patients)
    return Cuts(patient, np.concatenate(starts), np.concatenate(ends), np.full(patient.size, order))


def subset(timeline: Timeline, chosen: np.ndarray) -> Timeline:
    """The time line of some patients (breakpoints are no longer needed)."""
    measurement_offset, rows = parts_of(timeline.measurement_offset, chosen)
    return Timeline(
        break_offset=np.zeros(chosen.size + 1, dtype=np.int64),
        break_day=np.empty(0),
        measurement_offset=measurement_offset,
        measurement_day=timeline.measurement_day[rows],
        event_day=timeline.event_day[chosen],
        entry_day=timeline.stretches[0][chosen],
        free_day=timeline.stretches[1][chosen],
    )
