"""The charts: Vega-Lite specifications by Altair, drawn to SVG and PNG by vl-convert, without a browser and without a network.

In the page a chart is a still SVG whose colours are the page's own (`var(--series-1)`), so it follows dark mode and print, needs no
script, and leaves the page a policy that forbids all but its own script. In a file of its own it has the colours of the light page.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert

from harness.core.files import atomic_write
from harness.show.report.curves import CurveSet
from harness.show.report.entries import Entry
from harness.show.report.heat import LABELS, HeatMap, step
from harness.show.report.report import Report, RunCost
from harness.show.report.words import Words, words

SERIES = ("#0b62b0", "#c2570c", "#0f7a5a", "#8a4fa3", "#8a6d00", "#a8324e", "#3f6b7a", "#5a5f66")
"""Lines and bars, in an order that colour-blind readers can tell apart; the shapes of the points differ as well."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
HEAT = ("#d97a1f", "#ec9f4f", "#f5c48c", "#fbe0c1", "#fdf1e4", "#ffffff", "#e8f1fa", "#cbe0f3", "#a3c9e9", "#74aedb", "#4a93cc")
"""From far below the reference (orange) to far above it (blue), with black text legible on each."""

STAGES = ("encode", "scoring")
"""What the bars of the chart of costs are of."""

_SVG = "http://www.w3.org/2000/svg"
_TEXT, _QUIET, _GRID, _PAPER, _EMPTY = "#1b1f24", "#59626d", "#dfe3e8", "#ffffff", "#f0f2f4"
_PANEL = 232, 150
_INLINE = {"text": "var(--ink)", "quiet": "var(--quiet)", "grid": "var(--grid)", "paper": "transparent"}
_ALONE = {"text": _TEXT, "quiet": _QUIET, "grid": _GRID, "paper": _PAPER}


def write_charts(report: Report, folder: Path, *, language: str = "en") -> tuple[Path, ...]:
    """Write every chart of the report as SVG and PNG; the files that were written, none where the rows make no chart.

    Raises:
        RequestError: an unknown language.
        MachineError: the folder can't be written.
    """
    written = []
    for name, chart in _charts(report, words(language)):
        drawn = {".svg": vl_convert.vegalite_to_svg(_json(chart)).encode(), ".png": vl_convert.vegalite_to_png(_json(chart), scale=2)}
        for ending, content in drawn.items():
            written.append(folder / f"{name}{ending}")
            with atomic_write(written[-1]) as stream:
                stream.write(content)
    return tuple(written)


def _charts(report: Report, spoken: Words) -> Iterator[tuple[str, Any]]:
    """Every chart, with the name of its file without the ending."""
    if report.heat:
        yield "heatmap", _heat_chart(report.heat, spoken)
    titles = {cell.key: spoken[f"type.{cell.key}"] for cell in report.entries[0].row.cells}
    for curves in report.curves:
        yield curves.axis if curves.on_benchmark else f"{curves.axis}_other_data", _curve_chart(curves, titles, spoken)
    if report.costs:
        bars = _bars(report.costs, spoken, _series(inline=False)).properties(title=spoken["cost.heading"])
        yield "cost", _styled(bars, _ALONE)
        for on_benchmark in quality_sets(report.costs):
            own = _quality(report.costs, on_benchmark, _series(inline=False), spoken).properties(title=spoken["quality.heading"])
            yield "quality" if on_benchmark else "quality_other_data", _styled(own, _ALONE)


def _curve_chart(curves: CurveSet, titles: Mapping[str, str], spoken: Words) -> Any:
    """A panel per average (`titles` by `Cell.key`): scores over the axis, a line per recipe, broken where a score is missing."""
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=900, title=None)
    axis = spoken[f"{curves.axis}.axis"]
    panels = [_panel(curves, key, _series(inline=False), legend=legend, axis=axis).properties(title=title) for key, title in titles.items()]
    data = spoken["curve.data.on" if curves.on_benchmark else "curve.data.off"]
    whole = alt.concat(*panels, columns=4, spacing=18).properties(title=f"{spoken[f'{curves.axis}.heading']} ({data})")
    return _styled(whole, _ALONE)


def curve_panel(curves: CurveSet, key: str) -> str:
    """One panel as an SVG element of the page, without a word in it."""
    frame = {"left": 40, "right": 14, "top": 8, "bottom": 22}  # the same for all: panels side by side stand on one line
    panel = _panel(curves, key, _series(inline=True), legend=None, axis=None).properties(autosize="none", padding=frame)
    return _inline(_styled(panel, _INLINE))


def _heat_chart(heat: HeatMap, spoken: Words) -> Any:
    """Tasks by runs, coloured by the difference to the reference; a dashed frame marks what is inside the noise band."""
    data, order = [], [_label(entry, spoken) for entry in heat.entries]
    for row in heat.rows:
        for run, cell in zip(order, row.cells, strict=True):
            text = signed_points(cell.points) if cell.points else spoken[f"verdict.{cell.verdict}.short"]
            measured, noise = cell.points is not None, cell.verdict == "within noise"
            data.append(
                {"task": row.task, "run": run, "step": step(cell.points or 0.0), "text": text, "measured": measured, "noise": noise}
            )
    place = alt.Axis(orient="top", labelAngle=-35, labelLimit=300, ticks=False, domain=False)
    base = alt.Chart(alt.InlineData(values=data), width=alt.Step(74), height=alt.Step(19)).encode(
        x=alt.X("run:N", sort=order, title=None, axis=place),
        y=alt.Y("task:N", sort=[row.task for row in heat.rows], title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=220)),
    )
    colours = alt.Color(
        "step:O",
        scale=alt.Scale(domain=list(range(-5, 6)), range=list(HEAT)),
        legend=alt.Legend(title=spoken["heat.legend"], symbolType="square", labelExpr=f"{json.dumps(LABELS)}[datum.value + 5]"),
    )
    tiles = base.transform_filter("datum.measured").mark_rect(stroke=_PAPER, strokeWidth=1).encode(color=colours)
    empty = base.transform_filter("!datum.measured").mark_rect(stroke=_PAPER, strokeWidth=1, fill=_EMPTY)
    noise = base.transform_filter("datum.noise").mark_rect(fill=None, stroke=_TEXT, strokeDash=[2, 2], strokeWidth=1)
    below = f"{spoken['heat.reference']}: {_label(heat.reference, spoken)}" + (f". {spoken['heat.frame']}" if heat.calibration else "")
    title = alt.Title(spoken["heat.heading"], subtitle=below)
    return _styled(alt.layer(empty, tiles, noise, base.mark_text(fontSize=10).encode(text="text:N")).properties(title=title), _ALONE)


def cost_bars(costs: Sequence[RunCost]) -> str:
    """The chart of costs as an SVG element without a word in it: `STAGES` have the colours of the first two series."""
    frame = {"left": 20, "right": 5, "top": 5, "bottom": 5}  # a reader's font may be wider than the one that labels were measured in
    return _inline(_styled(_bars(costs, {}, _series(inline=True)).properties(padding=frame), _INLINE))


def quality_sets(costs: Sequence[RunCost]) -> list[bool]:
    """Whether there is a chart of scores and speed of runs on the benchmark's data (True), and of runs on other data (False)."""
    return [on for on in (True, False) if any(cost.entry.on_benchmark == on and _both(cost) for cost in costs)]


def quality_chart(costs: Sequence[RunCost], on_benchmark: bool) -> str:
    """The chart of averages over tokens per second as an SVG element without a word in it; the table of costs has its numbers."""
    return _inline(_styled(_quality(costs, on_benchmark, _series(inline=True), {}), _INLINE))


def _both(cost: RunCost) -> tuple[float, float] | None:
    """Tokens per second and the average; None where a run has not both."""
    speed, average = cost.encoding.tokens_per_second, cost.entry.row.cells[0].value
    return None if speed is None or average is None else (speed, average)


def _quality(costs: Sequence[RunCost], on_benchmark: bool, colours: Sequence[str], spoken: Words) -> Any:
    """Models are told apart by colour and shape, where there are few; every point has its run's number."""
    placed = [(cost.entry, both) for cost in costs if cost.entry.on_benchmark == on_benchmark and (both := _both(cost))]
    models = list(dict.fromkeys(entry.model for entry, _ in placed))
    values = [
        {"x": x, "y": y, "model": each.model, "run": f"#{each.number}", "label": f"#{each.number} {each.model}: {y:.2f}, {x:,.0f} tokens/s"}
        for each, (x, y) in placed
    ]
    low, high = _range([y for _, (_, y) in placed])
    legend = alt.Legend(orient="top", columns=2, labelLimit=260) if len(models) <= len(SERIES) else None
    speed = alt.Scale(type="log", nice=False, padding=24)
    base = alt.Chart(alt.InlineData(values=values), width=600, height=260).encode(
        x=alt.X("x:Q", scale=speed, axis=alt.Axis(format=",.0f", tickCount=6), title=spoken.get("quality.axis")),
        y=alt.Y("y:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=alt.Axis(format=".1f"), title=spoken.get("type.Average")),
        color=alt.Color("model:N", scale=alt.Scale(domain=models, range=_cycled(colours, len(models))), title=None, legend=legend),
        shape=alt.Shape("model:N", scale=alt.Scale(domain=models, range=_cycled(SHAPES, len(models))), title=None, legend=legend),
    )
    numbers = base.mark_text(align="left", dx=8, fontSize=11).encode(text="run:N", color=alt.value(colours[-1]), shape=alt.Undefined)
    return alt.layer(base.mark_point(filled=True, size=60, opacity=1).encode(description="label:N"), numbers)


def _label(entry: Entry, spoken: Words) -> str:
    """The entry in a chart: its number, whether its data is another than the benchmark's (first, for long labels are cut; a dagger where no
    words are given), its model, and what tells it apart."""
    off = "" if entry.on_benchmark else f"({spoken['identity.not C-MTEB']})" if spoken else "\N{DAGGER}"
    return " ".join(part for part in (f"#{entry.number}", off, entry.model, entry.setting.replace(" · ", " ")) if part)


def signed_points(points: float) -> str:
    """A difference as it is shown: two decimals, a sign as wide as a plus."""
    return f"{points:+.2f}".replace("-", "\N{MINUS SIGN}") if points else "0.00"


def _panel(curves: CurveSet, key: str, colours: Sequence[str], *, legend: alt.Legend | None, axis: str | None) -> Any:
    names = [f"{number}. {line.label}" for number, line in enumerate(curves.lines, start=1)]
    values: list[dict[str, Any]] = []
    for name, line in zip(names, curves.lines, strict=True):
        for point in line.points:
            score = point.values[key]
            label = "" if score is None else f"{point.x}: {score:.2f} (#{point.entry.number})"
            values.append({"x": point.x, "y": score, "line": name, "label": label})
    there = [each for each in values if each["y"] is not None]
    ticks, low, high = sorted({each["x"] for each in there}), *_range([each["y"] for each in there])
    values = [each for each in values if there and ticks[0] <= each["x"] <= ticks[-1]]  # what only other averages have stretches no axis
    steps = alt.Axis(values=ticks, format="d", grid=False, labelOverlap=True, labelFlush=False, tickSize=4)
    x = alt.X("x:Q", scale=alt.Scale(type="log", base=2, nice=False, padding=12), axis=steps, title=axis)
    scores = alt.Axis(tickCount=4, format=".1f", domain=False)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=scores, title=None)
    colour = alt.Color("line:N", scale=alt.Scale(domain=names, range=_cycled(colours, len(names))), legend=legend)
    shape = alt.Shape("line:N", scale=alt.Scale(domain=names, range=_cycled(SHAPES, len(names))), legend=legend)
    base = alt.Chart(alt.InlineData(values=values), width=_PANEL[0], height=_PANEL[1]).encode(x=x, y=y, color=colour)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(shape=shape, description="label:N")
    return alt.layer(base.mark_line(strokeWidth=2), points)


def _bars(costs: Sequence[RunCost], spoken: Words, colours: Sequence[str]) -> Any:
    order = [_label(cost.entry, spoken) for cost in costs]
    stages = [spoken.get(f"cost.{stage}", stage) for stage in STAGES]
    data = [
        {"run": run, "stage": stage, "order": number, "seconds": seconds, "label": f"{seconds:.1f} s"}
        for run, cost in zip(order, costs, strict=True)
        for number, (stage, seconds) in enumerate(zip(stages, (cost.encoding.encode_seconds, cost.scoring_seconds), strict=True))
    ]
    scale = alt.Scale(domain=stages, range=_cycled(colours, len(stages)))
    bars = alt.Chart(alt.InlineData(values=data), width=420, height=alt.Step(22)).mark_bar(size=14)
    return bars.encode(
        x=alt.X("seconds:Q", title=spoken.get("cost.seconds")),
        y=alt.Y("run:N", sort=order, title=None, axis=alt.Axis(labelLimit=300)),
        color=alt.Color("stage:N", scale=scale, title=None, legend=alt.Legend(orient="top") if spoken else None),
        order="order:Q",
        description="label:N",
    )


def _range(scores: Sequence[float]) -> tuple[float, float]:
    """What the axis of scores shows: a point at least, so that a difference of hundredths does not look like a cliff."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    margin = max(0.5, 0.6 * (high - low))
    return (low + high) / 2 - margin, (low + high) / 2 + margin


def _series(*, inline: bool) -> list[str]:
    return [f"var(--series-{number})" for number in range(1, len(SERIES) + 1)] if inline else list(SERIES)


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[number % len(values)] for number in range(count)]


def _styled(chart: Any, colours: Mapping[str, str]) -> Any:
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
    return str(chart.to_json(indent=None, validate=False))  # vl-convert refuses what is no chart


def _inline(chart: Any) -> str:
    """The chart for the page: no size of its own but its shape, nothing for a screen reader (a table stands beside it), titles on marks."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(_json(chart)))  # noqa: S314 (vl-convert writes it)
    del root.attrib["width"], root.attrib["height"]
    root.attrib |= {"aria-hidden": "true", "focusable": "false"}
    for element in root.iter():
        label = element.attrib.pop("aria-label", None)
        if label and element.tag == f"{{{_SVG}}}path" and element.attrib.get("aria-roledescription") in ("point", "bar"):
            ElementTree.SubElement(element, f"{{{_SVG}}}title").text = label
        for name in [name for name in element.attrib if name == "role" or (name.startswith("aria-") and element is not root)]:
            del element.attrib[name]
        for name in {"d", "transform"} & element.attrib.keys():
            element.attrib[name] = re.sub(r"(\.\d{2})\d+", r"\1", element.attrib[name])
    return ElementTree.tostring(root, encoding="unicode")
