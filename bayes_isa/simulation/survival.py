"""Two arms of a trial compared, and one arm summed up, with right-censored times."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.optimize import brentq

# A hazard ratio beyond e^15 either way is one arm with no event before the other has had all of its own.
_LARGEST_LOG_HR = 15.0


def cox_hazard_ratio(
    day: np.ndarray, event: np.ndarray, reference_day: np.ndarray, reference_event: np.ndarray
) -> float:
    """Hazard ratio of two arms by Cox's partial likelihood with Efron's ties; NaN when it has no finite
    maximum.

    Days (n,), (m,) and event flags of either arm. The score of one binary covariate is a sum over events,
    whose root a bracketing solver finds in a hundredth of the time of a general Cox fit (lifelines', against
    which it is tested).
    """
    at = np.unique(np.concatenate([day[event], reference_day[reference_event]]))

    def counts(days: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at_risk = days.size - np.searchsorted(np.sort(days), at, side="left")
        ended = np.sort(days[flags])
        return at_risk, np.searchsorted(ended, at, side="right") - np.searchsorted(ended, at, side="left")

    (risk, died), (base_risk, base_died) = counts(day, event), counts(reference_day, reference_event)
    tied = died + base_died
    # Efron: the l-th of d tied events takes the share l/d of those with the event out of the risk set.
    which = np.repeat(np.arange(at.size), tied)
    share = (np.arange(which.size) - np.repeat(np.cumsum(tied) - tied, tied)) / tied[which]
    own = (risk[which] - share * died[which]).astype(float)
    base = (base_risk[which] - share * base_died[which]).astype(float)
    return ratio_at_score_zero(own, base, np.ones(which.size), float(died.sum()))


def ratio_at_score_zero(
    own: np.ndarray, reference: np.ndarray, weight: np.ndarray, own_events: float
) -> float:
    """Root of Cox's score for one binary covariate: the ratio t with own_events = sum weight own t / (own t +
    reference).

    `own`, `reference`: sizes of the arms' risk sets at each event (n,), of which there are `weight` (n,). NaN
    without a root.
    """

    def score(log_ratio: float) -> float:
        scaled = own * np.exp(log_ratio)
        return own_events - float((weight * scaled / (reference + scaled)).sum())

    if own.size == 0 or score(-_LARGEST_LOG_HR) <= 0.0 or score(_LARGEST_LOG_HR) >= 0.0:
        return float("nan")
    return float(np.exp(brentq(score, -_LARGEST_LOG_HR, _LARGEST_LOG_HR, xtol=1e-12)))


def marginal_hazard_ratio(survival: np.ndarray, reference: np.ndarray) -> float:
    """Cox hazard ratio of two survival curves on common days (n,): what a trial of infinitely many patients without
    loss to follow-up would find.

    With F the events of a small step and S the survival at its middle, the root of sum [F - (F + F0) t S / (t S + S0)]
    (Struthers and Kalbfleisch 1986, doi:10.1093/biomet/73.2.363). NaN when an arm has no events.
    """
    died, base_died = -np.diff(survival), -np.diff(reference)
    middle, base_middle = (0.5 * (curve[1:] + curve[:-1]) for curve in (survival, reference))
    used = (middle + base_middle) > 0.0
    if died.sum() <= 0.0 or base_died.sum() <= 0.0:
        return float("nan")
    return ratio_at_score_zero(
        middle[used], base_middle[used], (died + base_died)[used], float(died[used].sum())
    )


def censored(day: np.ndarray, event: np.ndarray) -> stats.CensoredData:
    """Times (n,) with their event flags in SciPy's form."""
    return stats.CensoredData(uncensored=day[event], right=day[~event])


def log_rank(
    day: np.ndarray, event: np.ndarray, reference_day: np.ndarray, reference_event: np.ndarray
) -> float:
    """z of the log-rank test, negative where the first arm has fewer events than expected (SciPy); NaN where it has no
    variance: without events, or when all happen at once."""
    if not (event.any() or reference_event.any()):
        return float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        z = stats.logrank(censored(day, event), censored(reference_day, reference_event)).statistic
    return float(z)


def median_time(day: np.ndarray, event: np.ndarray) -> float:
    """Kaplan-Meier median: the first time the curve is at most one half; infinite when it never is."""
    if not event.any():
        return float("inf")
    curve = stats.ecdf(censored(day, event)).sf
    reached = curve.probabilities <= 0.5 + 1e-12
    return float(curve.quantiles[np.argmax(reached)]) if reached.any() else float("inf")
