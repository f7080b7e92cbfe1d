"""The commands that only read results: `table`, `claims`, `explain`, `report`, `index`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, CONVENTION, MERGE, benchmark_for, command, option, output_format, say, show
from harness.core.errors import RequestError
from harness.core.formatting import amount
from harness.show.form import format_names, write_document


@command(
    option("paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder that holds some"),
    output_format,
    CONVENTION,
    option("--tasks", action="store_true", help="every task, not only the averages"),
    option("--against", type=Path, metavar="PATH", help="a run folder (a published one) to compare every row with"),
    MERGE,
    BENCHMARK,
)
def table(arguments: Namespace) -> int:
    """print the leaderboard table of run folders"""
    from harness.read.runs import load_runs, one_run
    from harness.show.leaderboard import leaderboard

    benchmark = benchmark_for(arguments, *arguments.paths)
    runs = load_runs(arguments.paths, benchmark, merge=arguments.merge)
    against = one_run(arguments.against, benchmark, merge=arguments.merge) if arguments.against else None
    show(leaderboard(runs, benchmark, convention=arguments.convention, tasks=arguments.tasks, against=against), arguments.format)
    return 0


_RESULTS = "results.path="


@command(
    option(
        "card", nargs="?", default="", metavar="CARD", help="the README.md of a model, a folder of results; with --model results.path=DIR"
    ),
    option("--model", metavar="NAME[@REVISION]", help="a model of the registry, whose published results are graded"),
    option("--against", type=Path, metavar="RUN", help="a run folder, published records, or mteb's own result files"),
    option("--noise", type=Path, metavar="FILE", help="the run's calibration.json (python -m harness calibrate RUN)"),
    output_format,
    BENCHMARK,
)
def claims(arguments: Namespace) -> int:
    """check a model card against itself, and --against a run: claims README.md, claims --model NAME results.path=DIR"""
    from harness.read.claims.published import published_results
    from harness.read.claims.report import claims_report
    from harness.show.claims import claims_document

    if not arguments.card and not arguments.model:
        raise RequestError(f"no card: name the README.md of a model or a folder of results, or --model NAME {_RESULTS}DIR")
    named, results = arguments.card.startswith(_RESULTS), Path(arguments.card.removeprefix(_RESULTS)).expanduser()
    if named != bool(arguments.model):
        raise RequestError(f"--model NAME and {_RESULTS}DIR, a local copy of the results repository, go together: give both, or a card")
    card = published_results(results, arguments.model) if named else results
    report = claims_report(card, against=arguments.against, noise=arguments.noise, benchmark=arguments.benchmark)
    show(claims_document(report), arguments.format)
    return report.exit_code


@command(
    option("paths", nargs="+", type=Path, metavar="RUN", help="a run folder, a folder that holds some, or a card"),
    output_format,
    option("--examples", type=int, default=3, metavar="N", help="list the N examples of each task that moved most (3)"),
    BENCHMARK,
)
def explain(arguments: Namespace) -> int:
    """show what changing one setting did, on the same examples: explain RUN RUN ..."""
    from harness.read.explain.build import explain
    from harness.show.explain import explanation_document

    found = explain(arguments.paths, benchmark_for(arguments, *arguments.paths), examples=arguments.examples)
    show(explanation_document(found), arguments.format)
    return 0


def _format(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=[*format_names(), "markdown"], default="html")


@command(
    option("paths", nargs="+", type=Path, metavar="PATH", help="a folder of results, or the README.md of a model"),
    option("-o", "--output", type=Path, metavar="FILE", help="where to write it; html needs a file, other formats are printed without one"),
    _format,
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
    form = "md" if arguments.format == "markdown" else arguments.format
    if arguments.output is None:
        show(document, form)
    else:
        with atomic_write(arguments.output) as stream:
            stream.write(f"{write_document(document, form)}\n".encode())
        say(str(arguments.output))
    for path in write_charts(report, arguments.charts, language=arguments.language) if arguments.charts else ():
        say(str(path))
    return 0


@command(
    option("paths", nargs="*", type=Path, default=[Path("results")], metavar="PATH", help="folders of results, model cards (results)"),
    option("-o", "--output", type=Path, default=Path("results/index.csv"), metavar="FILE"),
    BENCHMARK,
)
def index(arguments: Namespace) -> int:
    """write every score of every run as one CSV: index [PATH...] [-o results/index.csv]"""
    from harness.core.files import atomic_write
    from harness.read.index import index_rows
    from harness.read.runs import load_runs
    from harness.show.index import index_csv

    benchmark = benchmark_for(arguments, *arguments.paths)
    rows = index_rows(load_runs(arguments.paths, benchmark), benchmark, beside=arguments.output.parent)
    with atomic_write(arguments.output) as stream:
        stream.write(f"{index_csv(rows)}\n".encode())
    say(f"{arguments.output}: {amount(len(rows), 'row')} of {amount(len({row.run for row in rows}), 'run')}")
    return 0
