"""What the command writes: the page or a table in the asked form, and a file per chart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import RequestError, unknown
from harness.core.files import atomic_write
from harness.show.leaderboard import render
from harness.show.report.charts import Chart, cost_chart, curve_chart, heat_chart
from harness.show.report.html import render_html
from harness.show.report.model import Report
from harness.show.report.words import words

FORMATS = ("html", "latex", "csv", "markdown", "json")


def report_text(report: Report, format: str, *, output: Path, language: str = "en", tasks: bool = False) -> str:  # noqa: A002
    """The report in one of `FORMATS`, to be written to `output`, with a newline at the end.

    The page holds everything; the other forms are the leaderboard and, with `tasks`, the score of every task.

    Raises:
        RequestError: an unknown format or language.
    """
    if format not in FORMATS:
        raise RequestError(unknown("format", format, FORMATS))
    if format == "html":
        return render_html(report, output=output, language=language)
    rows = [entry.row for entry in report.entries]
    return render(rows, "md" if format == "markdown" else format, tasks=tasks) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write the text, whole or not at all; raises MachineError where that can't be done."""
    with atomic_write(path) as stream:
        stream.write(text.encode())


def write_charts(report: Report, folder: Path, *, language: str = "en") -> tuple[Path, ...]:
    """Write every chart of the report as SVG and PNG; the files that were written, none where the rows make no chart.

    Raises:
        RequestError: an unknown language.
        MachineError: the folder can't be written.
    """
    written = []
    for chart in _charts(report, language):
        for ending, content in ((".svg", chart.svg().encode()), (".png", chart.png())):
            path = folder / f"{chart.name}{ending}"
            with atomic_write(path) as stream:
                stream.write(content)
            written.append(path)
    return tuple(written)


def _charts(report: Report, language: str) -> Iterator[Chart]:
    spoken = words(language)
    titles = {cell.key: spoken[f"type.{cell.key}"] for cell in report.entries[0].row.cells}
    if report.heat:
        yield heat_chart(report.heat, spoken)
    for curves in report.curves:
        yield curve_chart(curves, titles, spoken)
    if report.costs:
        yield cost_chart(report.costs, spoken)
