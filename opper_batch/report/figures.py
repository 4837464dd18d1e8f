"""Plots as inline SVG, by matplotlib; what is coloured gets a class, so that the page's colours hold.

The one place that knows matplotlib; it is imported late, since it takes half a second.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from opper_batch.errors import DefinitionError
from opper_batch.report.histogram import in_bins
from opper_batch.report.markup import Markup
from opper_batch.report.words import as_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that stand for the page's own: each becomes a class, and the page's style says what it looks like.
_CLASSES = {"#010101": "ink", "#020202": "first", "#030303": "second", "#040404": "third", "#050505": "grid"}
INK, FIRST, SECOND, THIRD, GRID = _CLASSES
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_KEPT = {"fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "text-anchor", "font-size"}
_MOST_BARS = 32
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "opper_batch",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar is a dollar
}


class Plots:
    """Draws the figures of one page; each has ids of its own. DefinitionError when matplotlib is missing."""

    def __init__(self) -> None:
        try:
            import matplotlib
            from matplotlib.backends.backend_svg import FigureCanvasSVG
            from matplotlib.figure import Figure
        except ImportError:
            raise DefinitionError(
                "the HTML report needs matplotlib, which is not installed: pip install 'opper-batch[report]'"
            ) from None
        self._rc, self._figure, self._canvas = matplotlib.rc_context, Figure, FigureCanvasSVG
        self._drawn = 0

    def over_time(self, timeline: dict[str, Any]) -> Markup:
        """Answers, failures and refusals a second, over the seconds since the run began."""
        width = timeline["seconds"]
        slices = {entry["slice"]: entry for entry in timeline["slices"]}
        places = range(max(slices) + 1)
        at, unit = [(place + 0.5) * width for place in places], "seconds"
        if at[-1] > 300:
            at, unit = [moment / 60 for moment in at], "minutes"
        shown = (
            ("ok", "answers", FIRST, "-"),
            ("failed", "failed", SECOND, "--"),
            ("throttled", "throttled", THIRD, ":"),
        )

        def draw(axes: Axes) -> None:
            for name, label, colour, dash in shown:
                rates = [slices.get(place, {}).get(name, 0) / width for place in places]
                if any(rates) or name == "ok":
                    axes.plot(at, rates, color=colour, linestyle=dash, linewidth=1.8, label=label)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(f"{unit} since the run began")
            axes.set_ylabel("per second")
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)

        return self._draw(draw, "Answers, failures and throttled calls per second over the run", 2.6)

    def latencies(self, counts: Sequence[Sequence[int]]) -> Markup:
        """How many answers took how long; up to the 99.5th in a hundred, so that the rest can be seen."""
        total = sum(number for _, number in counts)
        high, seen = counts[-1][0], 0
        for value, number in counts:
            seen += number
            if seen >= 0.995 * total:
                high = value
                break
        width = max(1, high) / 40
        bins = [0] * 41
        for value, number in counts:
            if value <= high:
                bins[int(value / width)] += number
        seconds = high >= 10_000
        scale = 1000.0 if seconds else 1.0

        def draw(axes: Axes) -> None:
            self._bars(axes, [place * width / scale for place in range(41)], bins, width / scale)
            axes.set_xlabel("seconds" if seconds else "milliseconds")
            axes.set_ylabel("answers")

        return self._draw(draw, "Distribution of how long answers took", 2.6)

    def column(
        self,
        histogram: dict[str, Any],
        label: str,
        *,
        axis: str = "",
        whole: bool = False,
        times: bool = False,
    ) -> Markup:
        """A column's numbers, or the lengths of its texts and lists."""

        width, ends = histogram["width"], [low for low, _ in histogram["bins"]]
        while (ends[-1] - ends[0]) / width > _MOST_BARS:
            width *= 2
        bins = in_bins(histogram, width)
        single = whole and width == 1  # a bar for each whole number, over that number

        def draw(axes: Axes) -> None:
            lows = [low - 0.5 if single else low for low, _ in bins]
            self._bars(axes, lows, [count for _, count in bins], width)
            axes.set_xlabel(axis)
            axes.xaxis.set_major_locator(_few(whole=whole, most=10 if single and len(bins) <= 10 else 5))
            if times:
                axes.xaxis.set_major_formatter(lambda value, _: _day(value))
            else:
                axes.xaxis.set_major_formatter(lambda value, _: as_number(value))

        return self._draw(draw, label, 1.7, width=4.6)

    def _bars(self, axes: Axes, lows: Sequence[float], counts: Sequence[int], width: float) -> None:
        axes.bar(lows, counts, width=width * 0.92, align="edge", color=FIRST)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")

    def _draw(self, draw: Any, label: str, height: float, *, width: float = 7.6) -> Markup:
        self._drawn += 1
        out = io.StringIO()
        with self._rc(_STYLE):
            figure = self._figure(figsize=(width, height), layout="constrained")
            self._canvas(figure)
            draw(figure.subplots())
            nobody = {"Date": None, "Creator": None, "Format": None, "Type": None}
            figure.savefig(out, format="svg", transparent=True, metadata=nobody)
        return _inline(out.getvalue(), label, prefix=f"p{self._drawn}-")


def _day(seconds: float) -> str:
    """The date at a tick; ticks lie beyond the data too, where the calendar may have ended."""
    try:
        return as_number(round(seconds), times=True)[:10]
    except OverflowError:
        return ""


def _few(*, whole: bool, most: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most if whole else 4, integer=whole)


def _inline(text: str, label: str, *, prefix: str) -> Markup:
    """Without style attributes, which the page's policy refuses, and with ids that are the page's only."""
    root = ElementTree.fromstring(text)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)
    for node in root.iter():
        _restyle(node)
        for name, value in list(node.attrib.items()):
            if name == "id":
                node.set(name, prefix + value)
            elif name == _LINK:
                del node.attrib[name]
                node.set("href", value.replace("#", f"#{prefix}"))
            elif "url(#" in value:
                node.set(name, value.replace("url(#", f"url(#{prefix}"))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    ElementTree.register_namespace("", _SVG)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _restyle(node: ElementTree.Element) -> None:
    """The style attribute as attributes and classes."""
    classes = []
    for declaration in node.attrib.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            name, value = "font-size", (re.findall(r"[\d.]+px", value) or ["9px"])[0]
        if value in _CLASSES:
            classes.append(f"{name}-{_CLASSES[value]}")
        elif name in _KEPT:
            node.set(name, value)
    if classes:
        node.set("class", " ".join(classes))
