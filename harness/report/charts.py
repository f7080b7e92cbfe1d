"""The charts: Vega-Lite specifications by Altair, drawn to SVG and PNG by vl-convert, without a browser and without a network.

In the page a chart is a still SVG whose colours are the page's own (`var(--series-1)`), so it follows dark mode and print, needs no
script, and leaves the page a policy that forbids all but its own script. In a file of its own it has the colours of the light page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert

from harness.report.heat import STEPS, step
from harness.report.model import CurveSet, Entry, HeatMap, RunCost
from harness.report.words import Words

SERIES = ("#0b62b0", "#c2570c", "#0f7a5a", "#8a4fa3", "#8a6d00", "#a8324e", "#3f6b7a", "#5a5f66")
"""Lines and bars, in an order that colour-blind readers can tell apart; the shapes of the points differ as well."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
HEAT = ("#d97a1f", "#ec9f4f", "#f5c48c", "#fbe0c1", "#fdf1e4", "#ffffff", "#e8f1fa", "#cbe0f3", "#a3c9e9", "#74aedb", "#4a93cc")
"""From far below the reference (orange) to far above it (blue), with black text legible on each."""

_SVG = "http://www.w3.org/2000/svg"
_TEXT, _QUIET, _GRID, _PAPER = "#1b1f24", "#59626d", "#dfe3e8", "#ffffff"
_PANEL = 232, 150
_INLINE = {"text": "var(--ink)", "quiet": "var(--quiet)", "grid": "var(--grid)", "paper": "transparent"}
_ALONE = {"text": _TEXT, "quiet": _QUIET, "grid": _GRID, "paper": _PAPER}


@dataclass(frozen=True)
class Chart:
    """A chart. `name`: its file name without the ending; `parts`: it again, in pieces that a narrow page puts below each other."""

    name: str
    whole: alt.TopLevelMixin
    parts: tuple[alt.TopLevelMixin, ...]

    def svg(self) -> str:
        """The chart as an SVG document of its own."""
        return vl_convert.vegalite_to_svg(_json(self.whole))

    def png(self) -> bytes:
        """The chart at twice its size in CSS pixels."""
        return bytes(vl_convert.vegalite_to_png(_json(self.whole), scale=2))

    def inline(self) -> tuple[str, ...]:
        """The pieces as SVG elements for a page: colours are the page's, sizes follow it, marks tell their values when pointed at."""
        return tuple(_inline(vl_convert.vegalite_to_svg(_json(part))) for part in self.parts)


def curve_chart(curves: CurveSet, titles: Mapping[str, str], words: Words, *, inline: bool = False) -> Chart:
    """A panel per average (`titles` by `Cell.key`): scores over the axis, a line per recipe."""
    panels = [_panel(curves, key, title, words, inline=inline) for key, title in titles.items()]
    whole = alt.concat(*panels, columns=4, spacing=18).properties(title=words[f"{curves.axis}.heading"])
    return Chart(curves.axis, _styled(whole, inline=inline), tuple(_styled(panel, inline=inline) for panel in panels))


def heat_chart(heat: HeatMap, words: Words, *, inline: bool = False) -> Chart:
    """Tasks by runs, coloured by the difference to the reference; the noise band is a hollow mark around the number."""
    data, order = [], [label(entry) for entry in heat.entries]
    for row in heat.rows:
        for entry, cell in zip(heat.entries, row.cells, strict=True):
            text = f"{cell.points:+.2f}" if cell.points else words[f"verdict.{cell.verdict}.short"]
            points, noise = cell.points or 0.0, cell.verdict == "within noise"
            data.append({"task": row.task, "run": label(entry), "step": step(points), "text": text, "noise": noise})
    edges = [*(-edge for edge in reversed(STEPS)), 0, *STEPS]
    base = alt.Chart(alt.InlineData(values=data), width=alt.Step(74), height=alt.Step(19)).encode(
        x=alt.X("run:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=-35, labelLimit=220, ticks=False, domain=False)),
        y=alt.Y("task:N", sort=[row.task for row in heat.rows], title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=220)),
    )
    tiles = base.mark_rect(stroke=_PAPER, strokeWidth=1).encode(
        color=alt.Color(
            "step:O",
            scale=alt.Scale(domain=list(range(-5, 6)), range=list(HEAT)),
            legend=alt.Legend(title=words["heat.legend"], symbolType="square", labelExpr=f"{json.dumps(_bins(edges))}[datum.value + 5]"),
        )
    )
    numbers = base.mark_text(fontSize=10).encode(text="text:N")
    noise = base.transform_filter("datum.noise").mark_rect(fill=None, stroke=_TEXT, strokeDash=[2, 2], strokeWidth=1)
    title = alt.Title(words["heat.heading"], subtitle=f"{words['heat.reference']}: {label(heat.reference)}")
    whole = _styled(alt.layer(tiles, noise, numbers).properties(title=title), inline=inline)
    return Chart("heatmap", whole, (whole,))


def cost_chart(costs: Sequence[RunCost], words: Words, *, inline: bool = False) -> Chart:
    """Seconds per run: of encoding, and of scoring."""
    data = [
        {"run": label(cost.entry), "stage": words[f"cost.{stage}"], "order": order, "seconds": seconds}
        for cost in costs
        for order, (stage, seconds) in enumerate((("encode", cost.encode_seconds), ("scoring", cost.scoring_seconds)))
    ]
    stages = [words["cost.encode"], words["cost.scoring"]]
    bars = alt.Chart(alt.InlineData(values=data), width=420, height=alt.Step(22)).mark_bar(size=14)
    whole = bars.encode(
        x=alt.X("seconds:Q", title=words["cost.seconds"]),
        y=alt.Y("run:N", sort=[label(cost.entry) for cost in costs], title=None, axis=alt.Axis(labelLimit=230)),
        color=alt.Color("stage:N", scale=alt.Scale(domain=stages, range=_series(2, inline)), title=None, legend=alt.Legend(orient="top")),
        order="order:Q",
        description="seconds:Q",
    )
    whole = whole.properties(title=words["cost.heading"])
    return Chart("cost", _styled(whole, inline=inline), (_styled(whole, inline=inline),))


def label(entry: Entry) -> str:
    """The entry in a chart: its number, its model and what tells it apart."""
    return " ".join(part for part in (f"#{entry.number}", entry.model, entry.setting.replace(" · ", " ")) if part)


def _panel(curves: CurveSet, key: str, title: str, words: Words, *, inline: bool) -> Any:
    names = [f"{number}. {line.label}" for number, line in enumerate(curves.lines, start=1)]
    values = [
        {"x": point.x, "y": point.values[key], "line": name, "told": f"{title}, {point.x}: {point.values[key]:.2f} (#{point.entry.number})"}
        for name, line in zip(names, curves.lines, strict=True)
        for point in line.points
        if point.values[key] is not None
    ]
    ticks = sorted({point.x for line in curves.lines for point in line.points})
    axis = alt.Axis(values=ticks, format="d", grid=False, labelOverlap=True, labelFlush=False, tickSize=4)
    scores = alt.Axis(tickCount=4, format=".1f", domain=False)
    count, legend = len(names), None if inline else alt.Legend(orient="bottom", columns=1, labelLimit=900, title=None)
    base = alt.Chart(alt.InlineData(values=values), width=_PANEL[0], height=_PANEL[1]).encode(
        x=alt.X("x:Q", scale=alt.Scale(type="log", base=2, nice=False, padding=12), axis=axis, title=words[f"{curves.axis}.axis"]),
        y=alt.Y("y:Q", scale=alt.Scale(zero=False, nice=True, padding=6), axis=scores, title=None),
        color=alt.Color("line:N", scale=alt.Scale(domain=names, range=_series(count, inline)), legend=legend),
    )
    lines = base.mark_line(strokeWidth=2)
    shape = alt.Shape("line:N", scale=alt.Scale(domain=names, range=[SHAPES[n % len(SHAPES)] for n in range(count)]), legend=legend)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(shape=shape, description="told:N")
    return alt.layer(lines, points).properties(title=title)


def _series(count: int, inline: bool) -> list[str]:
    return [f"var(--series-{n % len(SERIES) + 1})" if inline else SERIES[n % len(SERIES)] for n in range(count)]


def _bins(edges: Sequence[float]) -> list[str]:
    """What the eleven colours stand for, strongest minus first."""
    upper = [*(f"{low:g} to {high:g}" for low, high in zip((0.01, *STEPS[:-1]), STEPS, strict=True)), f"{STEPS[-1]:g} or more"]
    return [*(f"−{text}" for text in reversed(upper)), "0", *(f"+{text}" for text in upper)]


def _styled(chart: Any, *, inline: bool) -> Any:
    colours = _INLINE if inline else _ALONE
    axis: dict[str, Any] = {
        "labelColor": colours["quiet"],
        "titleColor": colours["quiet"],
        "titleFontWeight": "normal",
        "gridColor": colours["grid"],
    }
    axis |= {"domainColor": colours["quiet"], "tickColor": colours["quiet"], "labelFontSize": 11, "titleFontSize": 11}
    title = {"color": colours["text"], "subtitleColor": colours["quiet"], "anchor": "start", "fontSize": 13, "fontWeight": 600, "offset": 8}
    return (
        chart.configure(background=colours["paper"], font="sans-serif")
        .configure_view(stroke=None)
        .configure_axis(**axis)
        .configure_title(**title)
        .configure_text(color=colours["text"])
        .configure_legend(labelColor=colours["text"], titleColor=colours["quiet"], labelFontSize=11)
    )


def _json(chart: Any) -> str:
    return str(chart.to_json(indent=None))


def _inline(svg: str) -> str:
    """The SVG for a page: no size of its own but its shape, nothing for a screen reader (a table stands beside it), titles on marks."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)  # noqa: S314 (vl-convert has just written it)
    del root.attrib["width"], root.attrib["height"]
    root.attrib |= {"aria-hidden": "true", "focusable": "false"}
    for element in root.iter():
        told = element.attrib.pop("aria-label", None)
        if told and element.tag == f"{{{_SVG}}}path" and element.attrib.get("aria-roledescription") in ("point", "bar"):
            ElementTree.SubElement(element, f"{{{_SVG}}}title").text = told
        for name in [name for name in element.attrib if name == "role" or (name.startswith("aria-") and element is not root)]:
            del element.attrib[name]
        for name in {"d", "transform"} & element.attrib.keys():
            element.attrib[name] = re.sub(r"(\.\d{2})\d+", r"\1", element.attrib[name])
    return ElementTree.tostring(root, encoding="unicode")
