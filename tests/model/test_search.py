"""What a search found is found again for the same data and choices, to the last bit, and for no others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bayes_isa as bi
from bayes_isa.data import Trial
from bayes_isa.errors import BayesIsaWarning
from bayes_isa.model import cache, search
from bayes_isa.model.priors import PriorSet, load_priors
from bayes_isa.model.spec import ModelSpec

SPEC = ModelSpec(covariates={"hazard": ("plasmacytoma",), "KL": ("igg",)})


@pytest.fixture(scope="module")
def trial() -> Trial:
    return bi.draw_virtual_trial(12, seed=3).trial


@pytest.fixture(scope="module")
def priors() -> PriorSet:
    return load_priors("weakly_informative")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.PLACE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the trials that were searched for."""
    made: list[int] = []
    own = search.warm_start

    def counted(data, priors):
        made.append(data.trial.n_patients)
        return own(data, priors)

    monkeypatch.setattr(search, "warm_start", counted)
    return made


def test_the_second_model_is_the_first_to_the_last_bit(
    trial: Trial, place: Path, searches: list[int]
) -> None:
    first, second = (bi.build_model(trial, spec=SPEC) for _ in range(2))
    assert len(searches) == 1
    ours, theirs = first.initial_point(), second.initial_point()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
    point = {name: value + 0.1 for name, value in ours.items()}
    assert first.compile_logp()(point) == second.compile_logp()(point)
    np.testing.assert_array_equal(first.compile_dlogp()(point), second.compile_dlogp()(point))


def _one_value_more(trial: Trial) -> Trial:
    table = trial.mprotein.copy()
    table.loc[0, "value_g_per_l"] *= 1.0 + 1e-12
    return replace(trial, mprotein=table)


@pytest.mark.parametrize(
    "change",
    [
        lambda trial, priors, spec: (_one_value_more(trial), priors, spec),
        lambda trial, priors, spec: (trial.subset(trial.patients.index[::-1]), priors, spec),
        lambda trial, priors, spec: (trial, load_priors("published_2023"), spec),
        lambda trial, priors, spec: (trial, priors, replace(spec, link="value")),
        lambda trial, priors, spec: (trial, priors, replace(spec, tolerance=2e-3)),
    ],
    ids=["a value", "the order of patients", "priors", "the link", "the tolerance"],
)
def test_whatever_is_another_way_has_a_place_of_its_own(
    trial: Trial, priors: PriorSet, place: Path, change: Callable
) -> None:
    assert cache.entry(*change(trial, priors, SPEC)).path != cache.entry(trial, priors, SPEC).path


def test_other_code_has_a_place_of_its_own(
    trial: Trial, priors: PriorSet, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.entry(trial, priors, SPEC).path
    monkeypatch.setattr(cache, "_surroundings", lambda: b"other")
    assert cache.entry(trial, priors, SPEC).path != before


def test_labels_do_not_matter(trial: Trial, priors: PriorSet, place: Path) -> None:
    named = replace(trial, name="another")
    assert cache.entry(named, priors, SPEC) == cache.entry(trial, priors, SPEC)


def test_no_identifier_is_kept_and_only_the_user_reads_it(
    trial: Trial, priors: PriorSet, place: Path
) -> None:
    search.searched(trial, priors, SPEC)
    (file,) = place.iterdir()
    content = file.read_bytes()
    assert not any(patient.encode() in content for patient in trial.patients.index)
    assert file.stat().st_mode & 0o077 == 0
    assert place.stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_made_anew(
    trial: Trial, priors: PriorSet, place: Path, searches: list[int]
) -> None:
    search.searched(trial, priors, SPEC)
    (file,) = place.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    search.searched(trial, priors, SPEC)
    search.searched(trial, priors, SPEC)
    assert len(searches) == 2


def test_off_keeps_nothing(
    trial: Trial,
    priors: PriorSet,
    place: Path,
    searches: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(cache.PLACE, "OFF")
    search.searched(trial, priors, SPEC)
    search.searched(trial, priors, SPEC)
    assert len(searches) == 2
    assert not place.exists()


def test_a_place_that_takes_no_file_is_warned_of(
    trial: Trial, priors: PriorSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a_file"
    file.touch()
    monkeypatch.setenv(cache.PLACE, str(file / "kept"))
    with pytest.warns(BayesIsaWarning, match=r"kept there \(Not a directory\).*BAYES_ISA_CACHE"):
        search.searched(trial, priors, SPEC)


def test_nothing_half_written_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(BayesIsaWarning, match="No space left"):
        cache.Entry(place / "one.found").write(1)
    assert list(place.iterdir()) == []


def test_the_longest_unused_go_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_BYTES", 2500)
    entries = [cache.Entry(place / f"{number}.found") for number in range(3)]
    for number, entry in enumerate(entries[:2]):
        entry.write(bytes(1000))
        os.utime(place / f"{number}.found", (number, number))
    assert entries[0].read() is not None  # used, so that the other is now the oldest
    entries[2].write(bytes(1000))
    assert [entry.read() is not None for entry in entries] == [True, False, True]
