"""The command `report`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, CONVENTION, command, option
from harness.core.errors import RequestError


@command(
    "one page on runs and published results: report PATH... -o report.html",
    option("paths", nargs="+", type=Path, metavar="PATH", help="a folder of results, or the README.md of a model"),
    option("-o", "--output", type=Path, metavar="FILE", help="where to write it; the page needs one, other forms are printed"),
    option("--format", choices=("html", "latex", "csv", "markdown", "json"), default="html"),
    CONVENTION,
    option("--reference", type=Path, metavar="RUN", help="the run that the others are compared with"),
    option("--card", type=Path, metavar="CARD", help="the README.md of a model, to check and to grade against its runs"),
    option("--calibration", type=Path, metavar="FILE", help="the noise bands (calibration.json) of the reference"),
    option("--charts", type=Path, metavar="DIR", help="write every chart there, too, as SVG and PNG"),
    option("--language", choices=("en", "zh"), default="en", help="in which the page opens; it speaks both"),
    option("--tasks", action="store_true", help="every task, not only the averages; the page always has them"),
    BENCHMARK,
)
def call(arguments: Namespace) -> int:
    """Write one page on many runs."""
    from harness.core.records import benchmark_of
    from harness.show.report.build import build_report
    from harness.show.report.write import report_text, write_charts, write_text

    if arguments.format == "html" and arguments.output is None:
        raise RequestError("the page needs a file: report PATH... -o report.html (its links are relative to it)")
    report = build_report(
        arguments.paths,
        benchmark_of(arguments.paths, arguments.benchmark),
        convention=arguments.convention,
        reference=arguments.reference,
        card=arguments.card,
        calibration=arguments.calibration,
    )
    output = arguments.output or Path("report")
    text = report_text(report, arguments.format, output=output, language=arguments.language, tasks=arguments.tasks)
    if arguments.output is None:
        print(text, end="")
    else:
        write_text(arguments.output, text)
        print(arguments.output)
    for path in write_charts(report, arguments.charts, language=arguments.language) if arguments.charts else ():
        print(path)
    return 0
