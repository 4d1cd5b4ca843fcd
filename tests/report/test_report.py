"""The report: complete, self-contained, usable by keyboard and on a phone, and honest about a fit that failed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayes_isa as bi
from bayes_isa.errors import ModelError, RegimenError
from bayes_isa.report import checks_part, data_part, images, model_part
from bayes_isa.report.document import Picture
from bayes_isa.report.images import picture
from bayes_isa.report.words import agreement, conclusions, number

from .chromium import CHROMIUM, Page

mpl.use("Agg")
REGIMENS = ["10 mg/kg QW-Q2W", "20 mg/kg QW-Q2W + dex"]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def fit(sampled_near_the_truth) -> xr.DataTree:
    virtual = bi.draw_virtual_trial(24, seed=4)
    return sampled_near_the_truth(virtual.trial, virtual.truth, n_draws=220)


@pytest.fixture(scope="module")
def sims(fit: xr.DataTree) -> xr.DataTree:
    return bi.simulate_trials(fit, REGIMENS, n_trials=5, seed=1)


@pytest.fixture(scope="module")
def report(fit: xr.DataTree, sims: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    steps: list[tuple[int, int]] = []
    path = bi.write_report(
        fit,
        sims,
        out=tmp_path_factory.mktemp("report") / "report.html",
        n_replicates=20,
        n_individuals=3,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[-1] == (steps[-1][1],) * 2
    assert steps == sorted(steps)
    return path


class Parsed(HTMLParser):
    """Elements of a page with their attributes; open tags must be closed in order."""

    VOID = ("meta", "link", "img", "wbr", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


@pytest.fixture(scope="module")
def page(report: Path) -> Parsed:
    return Parsed(report.read_text(encoding="utf-8"))


def test_every_part_is_there(report: Path, page: Parsed) -> None:
    keys = [section["id"] for section in page.all("section")]
    assert keys == [
        *("summary", "data", "model", "convergence", "parameters", "individuals", "checks", "regimens"),
        *("sensitivity", "limits", "origin"),
    ]
    text = report.read_text(encoding="utf-8")
    for regimen in REGIMENS:
        assert regimen in text
    assert "The sampler converged" in text
    assert "joint model of 2023: 27 g/L" in text  # source of a prior
    assert "0.00531 (0.00458 to 0.00616)" in text  # published estimate


def test_links_lead_somewhere_and_ids_are_unique(page: Parsed) -> None:
    ids = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    inside = [a["href"] for a in page.all("a")] + [u.get("href") for u in page.all("use")]
    assert len(inside) > 20
    assert {str(target).removeprefix("#") for target in inside} <= set(ids)
    for _, attrs in page.found:
        for reference in str(attrs.get("aria-labelledby") or "").split():
            assert reference in ids


def test_nothing_is_loaded_from_elsewhere(report: Path, page: Parsed) -> None:
    for tag, attrs in page.found:
        for name in ("src", "href", "xlink:href"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:")), (tag, target)
    assert not re.search(r"@import|url\((?!#)", report.read_text(encoding="utf-8"))


def test_pictures_have_words_and_tables_captions_and_scopes(page: Parsed) -> None:
    pictures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(pictures) + len(page.all("img")) == len(page.all("figure")) == 13
    assert all(len(str(svg["aria-label"])) > 40 for svg in pictures)
    assert all(len(str(img["alt"])) > 40 for img in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption")) == 11
    assert {th["scope"] for th in page.all("th")} == {"row", "col"}


def test_the_numbers_are_those_of_the_comparison(report: Path, sims: xr.DataTree) -> None:
    table = bi.compare_regimens(sims, reference=REGIMENS[0])
    text = report.read_text(encoding="utf-8")
    for sentence in conclusions(table):
        assert sentence in text


def test_a_failed_fit_is_called_so(fit: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a report without simulated trials says so. Drawing, which takes most of the time, is left out."""
    for part in (checks_part, data_part, model_part):
        monkeypatch.setattr(part, "picture", lambda _, *, name, caption, alt: Picture(caption, alt, name))
    failed = fit.copy()
    stats = failed["sample_stats"].to_dataset()
    stats["diverging"] = xr.ones_like(stats["diverging"])
    failed["sample_stats"] = xr.DataTree(stats)
    text = bi.write_report(failed, out=tmp_path / "r.html", n_replicates=5, n_individuals=1).read_text(
        "utf-8"
    )
    assert "FAILED 1 of its convergence checks" in text
    assert "share of divergent draws" in text
    assert 'id="regimens"' not in text
    assert "nothing is said of regimens" in text
    plt.close("all")


def test_what_cannot_be_written_is_refused(fit: xr.DataTree, sims: xr.DataTree, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        bi.write_report(fit, out=tmp_path / "absent" / "r.html")
    with pytest.raises(RegimenError, match="was not simulated"):
        bi.write_report(fit, sims, out=tmp_path / "r.html", reference="5 mg/kg Q2W")
    with pytest.raises(ModelError, match="n_replicates"):
        bi.write_report(fit, out=tmp_path / "r.html", n_replicates=0)


def test_a_large_figure_becomes_a_png_and_text_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    figure, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    small = picture(figure, name="a", caption="c", alt='5 < 6 "x"')
    assert small.html.startswith('<svg role="img" aria-label="5 &lt; 6 &quot;x&quot;"')
    monkeypatch.setattr(images, "_LARGEST_SVG", 10)
    large_figure = plt.figure()
    large = picture(large_figure, name="b", caption="c", alt="5 < 6")
    assert large.html.startswith('<img src="data:image/png;base64,')
    assert 'alt="5 &lt; 6"' in large.html
    assert not {figure.number, large_figure.number} & set(plt.get_fignums())


def test_words_say_what_p_values_and_numbers_mean() -> None:
    assert "differ" in agreement(0.0004, "PFS")
    assert "p < 0.001" in agreement(0.0004, "PFS")
    assert "edge" in agreement(0.07, "PFS")
    assert "look like" in agreement(0.5, "PFS")
    assert "too few" in agreement(np.nan, "PFS")
    assert [number(v) for v in (1118.4, 0.00531, np.nan, np.inf)] == ["1118", "0.00531", "–", "–"]


@needs_chromium
def test_chromium_shows_it_without_complaint_on_desk_and_phone(report: Path, tmp_path: Path) -> None:
    backgrounds = set()
    for width, dark in ((1280, False), (390, True)):
        profile = tmp_path / f"profile{width}"
        with Page(report, width=width, height=900, dark=dark, profile=profile) as shown:
            assert shown.complaints() == []
            assert shown.evaluate("document.documentElement.scrollWidth") == width  # nothing beyond the edge
            broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
            assert shown.evaluate(broken) == 0
            empty = (
                "[...document.querySelectorAll('svg[role=img]')].filter(s => s.getBBox().width < 100).length"
            )
            assert shown.evaluate(empty) == 0
            backgrounds.add(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
            shown.screenshot(tmp_path / "shown.png", height=800)
    assert len(backgrounds) == 2
    assert plt.imread(tmp_path / "shown.png").std() > 0.01


@needs_chromium
def test_the_keyboard_reaches_links_tables_and_buttons(report: Path, tmp_path: Path) -> None:
    with Page(report, width=1280, height=900, profile=tmp_path) as shown:
        shown.press("Tab")
        assert shown.evaluate("document.activeElement.className") == "skip"
        shown.press("Enter")
        assert shown.evaluate("location.hash") == "#summary"
        reached = set()
        for _ in range(60):
            shown.press("Tab")
            reached.add(shown.evaluate("document.activeElement.tagName + document.activeElement.className"))
        assert {"DIVscroll", "BUTTON"} <= reached
        shown.evaluate("document.querySelector('button[data-copy]').focus()")
        shown.press("Enter")
        assert "Patients" in shown.evaluate("getSelection().toString()")
        assert shown.evaluate("document.activeElement.textContent") == "Copied"


@needs_chromium
def test_it_prints_on_a4(report: Path, tmp_path: Path) -> None:
    with Page(report, width=1280, height=900, profile=tmp_path) as shown:
        pdf = shown.pdf()
    (box,) = set(re.findall(rb"/MediaBox\s*\[([^\]]*)\]", pdf))
    assert [round(float(v)) for v in box.split()] == pytest.approx([0, 0, 595, 842], abs=1)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 5
