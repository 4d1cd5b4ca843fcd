"""Response coordinates: a smooth bijection whose Jacobian and derivatives are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_isa.kernels.response import N_INTEGRALS, Window, phi_by_psi, phi_from_psi, psi_from_phi
from bayes_isa.kernels.whitening import (
    Whitening,
    halfway_in,
    halfway_numbers,
    unwhiten,
    unwhiten_halfway,
    unwhiten_pullback,
    whiten,
)

K = 5.47
STEP = 1e-6


def derivative(window: Window, i: int, psi: np.ndarray) -> np.ndarray:
    """d phi / d psi (d, d) of patient i."""
    d, integrals = psi.size, np.empty(N_INTEGRALS)
    phi_from_psi(window, i, psi, K, np.empty(d), integrals)
    by_psi = np.empty((d, d))
    phi_by_psi(window, i, psi, integrals, by_psi, np.empty(d), np.empty(d))
    return by_psi


class Case:
    """Random patients and constants; patient 0 has ta = 0; half of them dexamethasone, half open windows.

    spread: SDs, or with `correlated` a precision matrix.
    """

    def __init__(self, d: int, saturation: float = 1.0, correlated: bool = False, n: int = 12) -> None:
        rng = np.random.default_rng(7)
        ta, tb = rng.uniform(10, 60, n), rng.uniform(60, 200, n)
        ta[0] = 0.0
        cuts = [np.zeros(n), 0.4 * ta, ta, ta + 0.5 * (tb - ta), tb]
        dexamethasone = rng.uniform(0, 0.1, (n, 4)) * (rng.random((n, 1)) < 0.5)
        edge = np.stack(cuts, axis=1)
        concentration = rng.uniform(0.1, 300, (n, 4, 3))
        is_open = np.arange(n) % 2 == 1
        self.window = Window(ta, tb, edge, concentration, dexamethasone, is_open, saturation)
        self.n, self.d, self.rng = n, d, rng
        base = np.log([27.0, 0.0053, 0.0396, 0.0192, 170.0])[:d]
        self.phi = base + 0.5 * rng.normal(size=(n, d))
        self.mean = base + 0.1 * rng.normal(size=(n, d))
        self.spread = rng.uniform(0.4, 1.2, d)
        if correlated:
            root = rng.normal(size=(d, d))
            self.spread = np.diag(self.spread**-2.0) + root @ root.T
        self.whitening = self._whitening()
        self.eps = np.empty((n, d))
        whiten(self.window, self.whitening, self.phi, self.mean, self.spread, K, self.eps)

    def _whitening(self) -> Whitening:
        n, d = self.n, self.d
        root = self.rng.normal(size=(n, d, d))
        curvature = np.ascontiguousarray(root @ root.transpose(0, 2, 1))
        psi, linear = np.empty((n, d)), np.empty((n, d, d))
        for i in range(n):
            psi_from_phi(self.window, i, self.phi[i], K, psi[i])
            linear[i] = derivative(self.window, i, psi[i])
        offset = self.phi - np.einsum("nij,nj->ni", linear, psi)
        pull = np.einsum("nij,nj->ni", curvature, psi) + 0.1 * self.rng.normal(size=(n, d))
        scale = self.rng.uniform(0.5, 2.0, (n, d))
        # None, walls and long tails.
        below, above = self.rng.choice([0.0, 0.8, -0.5], (2, n, d))
        return Whitening(curvature, pull, linear, offset, scale, below, above)

    def forward(self, **changed: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        values = {"eps": self.eps, "mean": self.mean, "spread": self.spread, "k": K} | changed
        phi, log_jacobian = np.empty((self.n, self.d)), np.empty(self.n)
        unwhiten(self.window, self.whitening, *values.values(), phi, log_jacobian)
        return phi, log_jacobian


IDS = ["constant", "emax", "linear", "constant correlated", "emax correlated"]


@pytest.fixture(params=[(4, 1.0), (5, 1.0), (5, 0.0), (4, 1.0, True), (5, 1.0, True)], ids=IDS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


def test_round_trip(case: Case) -> None:
    np.testing.assert_allclose(case.forward()[0], case.phi, rtol=0, atol=1e-12)


def test_log_jacobian_is_that_of_the_map(case: Case) -> None:
    jacobian = np.empty((case.n, case.d, case.d))
    for x in range(case.d):
        shift = np.zeros(case.d)
        shift[x] = STEP
        up, down = case.forward(eps=case.eps + shift)[0], case.forward(eps=case.eps - shift)[0]
        jacobian[:, :, x] = (up - down) / (2 * STEP)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], case.forward()[1], atol=1e-6)


@pytest.mark.parametrize("name", ["eps", "mean", "spread", "k"])
def test_pullback_agrees_with_finite_differences(case: Case, name: str) -> None:
    to_phi, to_log_jacobian = case.rng.normal(size=case.phi.shape), case.rng.normal(size=case.n)
    to_eps, to_mean, to_spread = map(np.empty_like, (case.eps, case.eps, case.spread))
    halfway = halfway_in.py_func(np.empty(case.n * halfway_numbers.py_func(case.d)), case.n, case.d)
    at = (case.eps, case.mean, case.spread, K)
    phi, log_jacobian = np.empty(case.phi.shape), np.empty(case.n)
    unwhiten_halfway(case.window, case.whitening, *at, phi, log_jacobian, halfway)
    for found, expected in zip((phi, log_jacobian), case.forward(), strict=True):
        np.testing.assert_array_equal(found, expected)
    to_k = unwhiten_pullback(
        case.window,
        case.whitening,
        case.mean,
        case.spread,
        halfway,
        to_phi,
        to_log_jacobian,
        to_eps,
        to_mean,
        to_spread,
    )
    gradient = {"eps": to_eps, "mean": to_mean, "spread": to_spread, "k": np.asarray(to_k)}[name]
    point = np.asarray({"eps": case.eps, "mean": case.mean, "spread": case.spread, "k": K}[name])
    direction = case.rng.normal(size=point.shape)
    if name == "spread" and direction.ndim == 2:
        direction = direction + direction.T  # a precision stays symmetric

    def along(t: float) -> float:
        changed = point + t * direction
        phi, log_jacobian = case.forward(**{name: float(changed) if name == "k" else changed})
        return float(np.sum(to_phi * phi) + np.sum(to_log_jacobian * log_jacobian))

    numeric = (along(STEP) - along(-STEP)) / (2 * STEP)
    assert np.sum(gradient * direction) == pytest.approx(numeric, rel=1e-5, abs=1e-6)


def test_a_diagonal_precision_is_that_of_the_sds() -> None:
    case = Case(5)
    by_sds, by_precision = case.forward(), case.forward(spread=np.diag(case.spread**-2.0))
    for one, other in zip(by_sds, by_precision, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("correlated", [False, True])
def test_without_data_eps_is_standard_normal(correlated: bool) -> None:
    """phi linear in psi near its mean: for small eps the covariance of phi is that of the population."""
    case = Case(5, correlated=correlated)
    n, d = case.n, case.d
    nothing = {"curvature": np.zeros((n, d, d)), "pull": np.zeros((n, d))}
    plain = {"scale": np.ones((n, d)), "below": np.zeros((n, d)), "above": np.zeros((n, d))}
    case.whitening = case.whitening._replace(**nothing, **plain)
    psi, linear = np.empty(d), np.empty((n, d, d))
    for i in range(n):
        psi_from_phi(case.window, i, case.mean[i], K, psi)
        linear[i] = derivative(case.window, i, psi)
        case.whitening.offset[i] = case.mean[i] - linear[i] @ psi
    case.whitening.linear[:] = linear
    jacobian = np.empty((n, d, d))
    for x in range(d):
        shift = np.zeros(d)
        shift[x] = STEP
        up, down = (case.forward(eps=sign * shift + np.zeros((n, d)))[0] for sign in (1, -1))
        jacobian[:, :, x] = (up - down) / (2 * STEP)
    covariance = np.linalg.inv(case.spread) if correlated else np.diag(case.spread**2)
    np.testing.assert_allclose(
        jacobian @ jacobian.transpose(0, 2, 1), np.broadcast_to(covariance, (n, d, d)), rtol=1e-4, atol=1e-5
    )


def test_an_uninformed_patient_is_sampled_non_centred() -> None:
    case = Case(5)
    nothing = case.whitening._replace(
        curvature=np.zeros_like(case.whitening.curvature), pull=np.zeros_like(case.whitening.pull)
    )
    assert case.window.open.any()
    assert not case.window.open.all()
    # With no curvature L = A' W A and the centre is where the linearised map meets the population mean.
    eps = np.zeros_like(case.eps)
    phi, log_jacobian = np.empty_like(eps), np.empty(case.n)
    mean = np.einsum("nij,nj->ni", case.whitening.linear, np.ones((case.n, 5))) + case.whitening.offset
    unwhiten(case.window, nothing, eps, mean, case.spread, K, phi, log_jacobian)
    psi = np.empty(5)
    for i in range(case.n):
        psi_from_phi(case.window, i, phi[i], K, psi)
        np.testing.assert_allclose(psi, 1.0, atol=1e-6)
