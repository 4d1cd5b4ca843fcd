"""Figures inside the page: SVG whose colours follow the page's light and dark, or PNG where SVG would be large."""

from __future__ import annotations

import base64
import html
import io
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bayes_isa.report.document import Picture

_LARGEST_SVG = 400_000  # characters; beyond it a PNG of the same figure is smaller and quicker to draw
_PNG_DPI = 130
# Colours that would vanish on a dark page, by the variable of the template that stands for them.
_VARIABLES = {
    "#000000": "--ink",
    "#ffffff": "--paper",
    "#404040": "--quiet",
    "#595959": "--quiet",
    "#666666": "--quiet",
    "#737373": "--quiet",
    "#808080": "--quiet",
    "#999999": "--faint",
    "#d9d9d9": "--faint",
    "#0072b2": "--blue",
    "#332288": "--indigo",
    "#882255": "--wine",
    "#117733": "--forest",
}
_COLOUR = re.compile(r"(?<=: )#[0-9a-f]{6}\b")


def picture(figure: Figure, *, name: str, caption: str, alt: str) -> Picture:
    """The figure as a block of the report, and closed. `name`: unique in the report; prefixes all ids of the SVG."""
    svg = _svg(figure, name)
    if len(svg) <= _LARGEST_SVG:
        element = _themed(svg, name, alt)
    else:
        element = f'<img src="data:image/png;base64,{_png(figure)}" alt="{html.escape(alt)}">'
    plt.close(figure)
    return Picture(caption, alt, element)


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_PNG_DPI, facecolor="white")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _themed(svg: str, name: str, alt: str) -> str:
    """The SVG as an image with a text alternative, its ids made unique, its colours the page's."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    svg = _COLOUR.sub(lambda m: f"var({_VARIABLES[m[0]]})" if m[0] in _VARIABLES else m[0], svg)
    head, _, rest = svg.partition(">")
    width = re.search(r'width="([\d.]+)pt"', head)
    viewbox = re.search(r'viewBox="[^"]*"', head)
    assert width is not None  # Matplotlib writes both
    assert viewbox is not None
    pixels = float(width[1]) * 96.0 / 72.0
    opened = (
        f'<svg role="img" aria-label="{html.escape(alt)}" {viewbox[0]} style="max-width:{pixels:.0f}px" '
        'xmlns="http://www.w3.org/2000/svg"'
    )
    return f"{opened}>{rest.strip()}"
