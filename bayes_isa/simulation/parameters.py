"""Parameters to simulate with: one set at a time, taken from a posterior or known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from bayes_isa.data.truth import Truth
from bayes_isa.errors import ModelError
from bayes_isa.kernels.evaluate import Parameters
from bayes_isa.kernels.residual import Residual, standard_errors
from bayes_isa.kernels.trajectory import INDIVIDUAL

TARGETS = (*INDIVIDUAL, "hazard")


@dataclass(frozen=True)
class ParameterSet:
    """One set of population parameters.

    log_typical  (5,) logs of M0 (g/L), KL, KD, R (1/day), EC50 (mg/L; K-PD: mg/day) of a patient with all covariates 0
    omega        (5,) their SDs between patients
    effects      covariate effects by target, (covariate,) each
    k in L/umol, te in days, sigma_add in g/L; nu: degrees of freedom of the residual error, infinite when normal
    correlation  (5, 5) of the random effects of one patient; None: they are independent
    """

    log_typical: np.ndarray
    omega: np.ndarray
    effects: Mapping[str, np.ndarray]
    k: float
    beta_link: float
    te: float
    s: float
    sigma_add: float
    sigma_prop: float
    nu: float = np.inf
    correlation: np.ndarray | None = None

    def random_effects(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Deviations (n, 5) of new patients' individual parameters from their means."""
        z = rng.standard_normal((n, len(INDIVIDUAL)))
        if self.correlation is not None:
            z = z @ np.linalg.cholesky(self.correlation).T
        return self.omega * z

    def of_patients(self, phi: np.ndarray, hazard_lp: np.ndarray) -> Parameters:
        """What the kernel takes: with individual parameters (n, 5) and the hazard's linear predictor (n,)."""
        return Parameters(phi, self.k, hazard_lp, self.beta_link, self.te, self.s)

    def residual_sd(self, m: np.ndarray) -> np.ndarray:
        """SD of a measurement where M-protein is `m`, both g/L."""
        return self.residual.sd(m)

    def standard_errors(self, rng: np.random.Generator, size: tuple[int, ...] | int) -> np.ndarray:
        """Random errors of measurements in units of `residual_sd`."""
        return standard_errors(self.nu, rng, size)

    @property
    def residual(self) -> Residual:
        """The residual error."""
        return Residual(self.sigma_add, self.sigma_prop, self.nu)


@dataclass(frozen=True)
class ImputedCovariate:
    """Draws (draw, missing) of a covariate of the patients `ids` (missing,), on its coded scale."""

    ids: tuple[str, ...]
    coded: np.ndarray


@dataclass(frozen=True)
class PosteriorDraws:
    """All draws of a posterior, one after another (chains end to end)."""

    names: Mapping[str, tuple[str, ...]]  # covariates by target
    patient_ids: tuple[str, ...]
    phi: np.ndarray  # (draw, patient, 5)
    scalars: Mapping[str, np.ndarray]  # (draw,) each
    effects: Mapping[str, np.ndarray]  # (draw, covariate) each
    chain: np.ndarray  # (draw,)
    draw: np.ndarray
    correlation: np.ndarray | None = None  # (draw, 5, 5) of random effects; None: they are independent
    imputed: Mapping[str, ImputedCovariate] = field(
        default_factory=dict
    )  # by covariate, where it was missing

    @property
    def size(self) -> int:
        """Number of draws."""
        return self.chain.size

    @property
    def knows_dexamethasone(self) -> bool:
        """Whether the data told the effect of dexamethasone on M-protein."""
        return "k" in self.scalars

    def at(self, position: int) -> ParameterSet:
        """The population parameters of one draw."""

        def scalar(name: str, absent: float) -> float:
            return float(self.scalars[name][position]) if name in self.scalars else absent

        # What a model leaves out has the value that switches it off: EC50 -> 0 is the full effect of constant
        # exposure.
        typical = [scalar(f"{name}_pop", 0.0) for name in INDIVIDUAL]
        with np.errstate(divide="ignore"):
            log_typical = np.log(typical)
        return ParameterSet(
            log_typical=log_typical,
            omega=np.array([scalar(f"omega_{name}", 0.0) for name in INDIVIDUAL]),
            effects={target: values[position] for target, values in self.effects.items()},
            k=scalar("k", 0.0),
            beta_link=scalar("beta_link", 0.0),
            te=scalar("Te", np.nan),
            s=scalar("s", 1.0),
            sigma_add=scalar("sigma_add", 0.0),
            sigma_prop=scalar("sigma_prop", 0.0),
            nu=scalar("nu", np.inf),
            correlation=None if self.correlation is None else self.correlation[position],
        )

    def mean(self) -> PosteriorDraws:
        """One draw in place of all: posterior means, of logs for what is positive; chain and draw are -1."""
        scalars = {
            name: np.array([values.mean() if name == "beta_link" else np.exp(np.log(values).mean())])
            for name, values in self.scalars.items()
        }
        return replace(
            self,
            phi=self.phi.mean(axis=0, keepdims=True),
            scalars=scalars,
            effects={target: values.mean(axis=0, keepdims=True) for target, values in self.effects.items()},
            chain=np.array([-1]),
            draw=np.array([-1]),
            correlation=None if self.correlation is None else self.correlation.mean(axis=0, keepdims=True),
            imputed={
                name: replace(own, coded=own.coded.mean(axis=0, keepdims=True))
                for name, own in self.imputed.items()
            },
        )

    def take(self, positions: np.ndarray) -> PosteriorDraws:
        """Some of the draws."""
        return replace(
            self,
            phi=self.phi[positions],
            scalars={name: values[positions] for name, values in self.scalars.items()},
            effects={target: values[positions] for target, values in self.effects.items()},
            chain=self.chain[positions],
            draw=self.draw[positions],
            correlation=None if self.correlation is None else self.correlation[positions],
            imputed={name: replace(own, coded=own.coded[positions]) for name, own in self.imputed.items()},
        )

    def choose(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Positions (count,) of draws at random, none repeated before all have been used."""
        rounds = -(-count // self.size)
        return np.concatenate([rng.permutation(self.size) for _ in range(rounds)])[:count]


def posterior_draws(fit: xr.DataTree) -> PosteriorDraws:
    """The draws of a fit's group "posterior" (chain, draw).

    Raises ModelError when the group or one of the variables every joint model has is missing.
    """
    if "posterior" not in fit.children:
        raise ModelError("the fit has no group 'posterior': pass what `bayes_isa.fit` returned")
    posterior = fit["posterior"].to_dataset()
    required = ["phi", "KL_pop", "KD_pop", "R_pop", "M0_pop", "Te"]
    absent = [name for name in required if name not in posterior]
    if "sigma_add" not in posterior and "sigma_prop" not in posterior:
        absent.append("sigma_add or sigma_prop")
    if absent:
        raise ModelError(f"the posterior lacks {', '.join(absent)}: was it fitted with `build_model`?")
    # The inference layer is slow to import, and not needed to simulate at known parameters.
    from bayes_isa.inference.storage import stack_draws

    flat = stack_draws(posterior).transpose("sample", ...)
    phi = flat["phi"].transpose("sample", "patient", "parameter").to_numpy().astype(float)
    if phi.shape[2] < len(INDIVIDUAL):
        phi = np.concatenate([phi, np.full((*phi.shape[:2], 1), -np.inf)], axis=2)
    targets = [target for target in TARGETS if f"beta_{target}" in flat]
    named = (*(f"{p}_pop" for p in INDIVIDUAL), *(f"omega_{p}" for p in INDIVIDUAL))
    shared = ("k", "beta_link", "Te", "s", "sigma_add", "sigma_prop", "nu")
    return PosteriorDraws(
        names={t: tuple(str(c) for c in flat[f"covariate_{t}"].to_numpy()) for t in targets},
        patient_ids=tuple(str(i) for i in flat["patient"].to_numpy()),
        phi=phi,
        scalars={name: flat[name].to_numpy() for name in (*named, *shared) if name in flat},
        effects={t: flat[f"beta_{t}"].to_numpy() for t in targets},
        chain=flat["chain"].to_numpy(),
        draw=flat["draw"].to_numpy(),
        correlation=_correlations(flat),
        imputed=_imputed(flat),
    )


def _imputed(flat: xr.Dataset) -> dict[str, ImputedCovariate]:
    names = [str(name).removeprefix("imputed_") for name in flat if str(name).startswith("imputed_")]
    return {
        name: ImputedCovariate(
            tuple(str(i) for i in flat[f"patient_without_{name}"].to_numpy()),
            flat[f"imputed_{name}"].to_numpy(),
        )
        for name in names
    }


def _correlations(flat: xr.Dataset) -> np.ndarray | None:
    """(sample, 5, 5) of random effects: parameters that a model lacks do not vary, and correlate with nothing."""
    if "correlation" not in flat:
        return None
    given = flat["correlation"].transpose("sample", "parameter", "parameter_other").to_numpy()
    whole = np.tile(np.eye(len(INDIVIDUAL)), (len(given), 1, 1))
    whole[:, : given.shape[1], : given.shape[1]] = given
    return whole


def fit_at_truth(truth: Truth) -> xr.DataTree:
    """A posterior of one draw, at the parameters a virtual trial was made with, for `simulate_trials`.

    With it, simulated trials show what the published estimates predict, without uncertainty about them. Pass
    the trial and `ModelSpec()` along with it.
    """
    phi = truth.individual[[f"log_{name}" for name in INDIVIDUAL]].to_numpy(dtype=float)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "phi": (("chain", "draw", "patient", "parameter"), phi[None, None])
    }
    coords: dict[str, object] = {
        "chain": [0],
        "draw": [0],
        "patient": truth.individual.index.to_numpy(dtype=object),
        "parameter": list(INDIVIDUAL),
    }
    for name, value in truth.parameters.items():
        if isinstance(value, Mapping):
            dim = f"covariate_{name.removeprefix('beta_')}"
            coords[dim] = list(value)
            variables[name] = (("chain", "draw", dim), np.array(list(value.values()))[None, None])
        elif name == "correlation":
            coords["parameter_other"] = list(INDIVIDUAL)
            dims = ("chain", "draw", "parameter", "parameter_other")
            variables[name] = (dims, np.array(value)[None, None])
        else:
            variables[name] = (("chain", "draw"), np.array([[float(value)]]))
    return xr.DataTree.from_dict({"posterior": xr.Dataset(variables, coords)})
