"""Draw docs/pfs.png, the picture in the README: `python docs/pfs.py`, about half a minute."""

from pathlib import Path

import bayes_isa as bi
from bayes_isa.data.examples import load_example_truth
from bayes_isa.simulation.parameters import fit_at_truth

REGIMENS = ["10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"]

# The published estimates as if they were known exactly: the bands show the variability between trials alone.
sims = bi.simulate_trials(
    fit_at_truth(load_example_truth()),
    REGIMENS,
    n_trials=500,
    seed=1,
    trial=bi.load_example(),
    spec=bi.ModelSpec(),
)
figure = bi.plot_pfs(sims).get_figure(root=True)
assert figure is not None
figure.savefig(Path(__file__).with_suffix(".png"), dpi=120)
