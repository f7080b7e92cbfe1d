"""The command `report`."""

from argparse import Namespace
from functools import partial
from pathlib import Path

from harness.commands.arguments import BENCHMARK, CONVENTION, MERGE, benchmark_for, command, option, output_format, say, show
from harness.core.errors import RequestError
from harness.show.form import write_document


@command(
    option("paths", nargs="+", type=Path, metavar="PATH", help="a folder of results, or the README.md of a model"),
    option("-o", "--output", type=Path, metavar="FILE", help="where to write it; html needs a file, other formats are printed without one"),
    partial(output_format, default="html"),
    CONVENTION,
    option("--reference", type=Path, metavar="RUN", help="the run that the others are compared with"),
    option("--card", type=Path, metavar="CARD", help="the README.md of a model, to check and to grade against its runs"),
    option("--calibration", type=Path, metavar="FILE", help="the noise bands (calibration.json) of the reference"),
    option("--charts", type=Path, metavar="DIR", help="also write every chart there, as SVG and PNG"),
    option("--language", choices=("en", "zh"), default="en", help="the language in which the page opens; it has both"),
    option("--tasks", action="store_true", help="every task, not only the averages; the page always has them"),
    option("--texts", action="store_true", help="show texts of the examples that moved most, where the data is on this machine"),
    MERGE,
    BENCHMARK,
)
def report(arguments: Namespace) -> int:
    """write one page on runs and published results: report PATH... -o report.html"""
    from harness.core.files import atomic_write
    from harness.show.report.charts import write_charts
    from harness.show.report.html import report_document
    from harness.show.report.report import build_report

    if arguments.format == "html" and arguments.output is None:
        raise RequestError("the page needs a file: report PATH... -o report.html (its links are relative to it)")
    report = build_report(
        arguments.paths,
        benchmark_for(arguments, *arguments.paths),
        convention=arguments.convention,
        reference=arguments.reference,
        card=arguments.card,
        calibration=arguments.calibration,
        merge=arguments.merge,
        texts=arguments.texts,
    )
    document = report_document(report, output=arguments.output or Path("report"), language=arguments.language, tasks=arguments.tasks)
    if arguments.output is None:
        show(document, arguments.format)
    else:
        with atomic_write(arguments.output) as stream:
            stream.write(f"{write_document(document, arguments.format)}\n".encode())
        say(str(arguments.output))
    for path in write_charts(report, arguments.charts, language=arguments.language) if arguments.charts else ():
        say(str(path))
    return 0
