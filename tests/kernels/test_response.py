"""Response coordinates: a smooth bijection whose Jacobian and derivatives are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_isa.kernels.response import Window, phi_by_psi, psi_from_phi
from bayes_isa.kernels.whitening import Whitening, unwhiten, unwhiten_pullback, whiten

K = 5.47
STEP = 1e-6


class Case:
    """Random patients and constants; patient 0 has ta = 0; half of them dexamethasone, half open windows."""

    def __init__(self, d: int, saturation: float = 1.0, n: int = 12) -> None:
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
        self.omega = rng.uniform(0.4, 1.2, d)
        self.whitening = self._whitening()
        self.eps = np.empty((n, d))
        whiten(self.window, self.whitening, self.phi, self.mean, self.omega, K, self.eps)

    def _whitening(self) -> Whitening:
        n, d = self.n, self.d
        root = self.rng.normal(size=(n, d, d))
        curvature = np.ascontiguousarray(root @ root.transpose(0, 2, 1))
        psi, linear = np.empty((n, d)), np.empty((n, d, d))
        for i in range(n):
            psi_from_phi(self.window, i, self.phi[i], K, psi[i])
            phi_by_psi(self.window, i, psi[i], K, linear[i], np.empty(d), np.empty(d))
        offset = self.phi - np.einsum("nij,nj->ni", linear, psi)
        pull = np.einsum("nij,nj->ni", curvature, psi) + 0.1 * self.rng.normal(size=(n, d))
        scale = self.rng.uniform(0.5, 2.0, (n, d))
        # None, walls and long tails.
        below, above = self.rng.choice([0.0, 0.8, -0.5], (2, n, d))
        return Whitening(curvature, pull, linear, offset, scale, below, above)

    def forward(self, **changed: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        values = {"eps": self.eps, "mean": self.mean, "omega": self.omega, "k": K} | changed
        phi, log_jacobian = np.empty((self.n, self.d)), np.empty(self.n)
        unwhiten(self.window, self.whitening, *values.values(), phi, log_jacobian)
        return phi, log_jacobian


@pytest.fixture(params=[(4, 1.0), (5, 1.0), (5, 0.0)], ids=["constant", "emax", "linear"])
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


@pytest.mark.parametrize("name", ["eps", "mean", "omega", "k"])
def test_pullback_agrees_with_finite_differences(case: Case, name: str) -> None:
    to_phi, to_log_jacobian = case.rng.normal(size=case.phi.shape), case.rng.normal(size=case.n)
    to_eps, to_mean, to_omega = np.empty_like(case.eps), np.empty_like(case.eps), np.empty(case.d)
    to_k = unwhiten_pullback(
        case.window,
        case.whitening,
        case.eps,
        case.mean,
        case.omega,
        K,
        to_phi,
        to_log_jacobian,
        to_eps,
        to_mean,
        to_omega,
    )
    gradient = {"eps": to_eps, "mean": to_mean, "omega": to_omega, "k": np.asarray(to_k)}[name]
    point = np.asarray({"eps": case.eps, "mean": case.mean, "omega": case.omega, "k": K}[name])
    direction = case.rng.normal(size=point.shape)

    def along(t: float) -> float:
        changed = point + t * direction
        phi, log_jacobian = case.forward(**{name: float(changed) if name == "k" else changed})
        return float(np.sum(to_phi * phi) + np.sum(to_log_jacobian * log_jacobian))

    numeric = (along(STEP) - along(-STEP)) / (2 * STEP)
    assert np.sum(gradient * direction) == pytest.approx(numeric, rel=1e-5, abs=1e-6)


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
    unwhiten(case.window, nothing, eps, mean, case.omega, K, phi, log_jacobian)
    psi = np.empty(5)
    for i in range(case.n):
        psi_from_phi(case.window, i, phi[i], K, psi)
        np.testing.assert_allclose(psi, 1.0, atol=1e-6)
