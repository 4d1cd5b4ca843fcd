"""Chains of patients that have found their scale, for tests of what is made of their draws."""

from __future__ import annotations

from bayes_isa.model.gaussian import modes
from bayes_isa.model.joint_data import JointData
from bayes_isa.model.pilot import Pilot
from bayes_isa.model.population import Population
from bayes_isa.model.windows import response_windows


def settled_pilot(data: JointData, population: Population) -> Pilot:
    window = response_windows(data)[0]
    pilot = Pilot.start(data, window, modes(data, window, population), seed=1)
    for _ in range(2):
        pilot = pilot.adapted(pilot.draw(population, 60).phi, population.k)
    return pilot
