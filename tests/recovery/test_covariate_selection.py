"""Does the horseshoe find the published covariates among all candidates? A full run, minutes: `-m slow`."""

from __future__ import annotations

import pytest
from scipy.stats import binom

import bayes_isa as bi
from bayes_isa.data.published import PUBLISHED_EFFECTS
from bayes_isa.errors import BayesIsaWarning

pytestmark = pytest.mark.slow

# Ten standard errors from 0 in 200 patients (the others: 2 to 4), so that missing it is no bad luck.
CERTAIN = {"beta_M0[log_albumin]"}
FALSE_SHARE = 0.1  # what selection by 90 % intervals without any shrinkage would keep


def test_published_effects_among_all_candidates() -> None:
    """No more false effects than would come up once in a thousand trials if a tenth of nulls were kept."""
    virtual = bi.draw_virtual_trial(200, seed=11)
    with pytest.warns(BayesIsaWarning, match="no candidates"):
        candidates = bi.all_covariates(virtual.trial)
    spec = bi.ModelSpec(covariates=candidates, covariate_prior="horseshoe")
    model = bi.build_model(virtual.trial, "weakly_informative", spec)
    fit = bi.fit(model, seed=1, draws=500, tune=500, chains=2, target_accept=0.95, progressbar=False)
    sampler = bi.diagnose(fit).sampler
    published = {f"beta_{target}[{name}]" for target, of in PUBLISHED_EFFECTS.items() for name in of}
    for keep in ("shrinkage", "interval", "relevant"):
        found = bi.covariate_selection(fit, keep=keep)
        kept = set(map(str, found["effect"].to_numpy()[found["kept"].to_numpy()]))
        n_null = found.sizes["effect"] - len(published)
        print(f"{keep}: found {sorted(kept & published)}, missed {sorted(published - kept)}")
        print(f"  kept without an effect, of {n_null}: {sorted(kept - published)}")
        assert kept >= CERTAIN
        assert len(kept - published) <= binom.ppf(0.999, n_null, FALSE_SHARE)
    print(sampler)
    assert found.sizes["effect"] >= 27
    assert sampler["divergent_share"] < 0.01
