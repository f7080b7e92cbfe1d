"""The commands that only read: the benchmark's table, folders of results, model cards."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.errors import RequestError


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Enter them into the parser."""
    tasks = commands.add_parser("tasks", help="print the benchmark's tasks: repository, revision, split, metrics")
    tasks.add_argument("--format", choices=("text", "json"), default="text")
    tasks.add_argument("--benchmark", default="cmteb35")
    tasks.set_defaults(command=_tasks)

    table = commands.add_parser("table", help="the leaderboard table of run folders")
    table.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder that holds some")
    table.add_argument("--format", choices=("text", "md", "csv", "json"), default="text")
    table.add_argument("--convention", default="cmteb", help="how scores are averaged")
    table.add_argument("--tasks", action="store_true", help="every task, not only the averages")
    table.add_argument("--against", type=Path, metavar="PATH", help="a run folder (a published one) to compare every row with")
    table.add_argument("--benchmark", default="cmteb35")
    table.set_defaults(command=_table)

    claims = commands.add_parser("claims", help="check a model card against itself, and --against a run: claims README.md")
    claims.add_argument("card", type=Path, metavar="CARD", help="the README.md of a model, or a folder of results")
    claims.add_argument("--against", type=Path, metavar="RUN", help="a run folder, published records, or mteb's own result files")
    claims.add_argument("--noise", type=Path, metavar="FILE", help="JSON {task: {metric: tolerance in points}}")
    claims.add_argument("--format", choices=("text", "md", "json"), default="text")
    claims.add_argument("--benchmark", default="cmteb35")
    claims.set_defaults(command=_claims)

    report = commands.add_parser("report", help="one page on runs and published results: report PATH... -o report.html")
    report.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a folder of results, or the README.md of a model")
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write it; the page needs one, other forms are printed")
    report.add_argument("--format", choices=("html", "latex", "csv", "markdown", "json"), default="html")
    report.add_argument("--convention", default="cmteb", help="how scores are averaged")
    report.add_argument("--reference", type=Path, metavar="RUN", help="the run that the others are compared with")
    report.add_argument("--card", type=Path, metavar="CARD", help="the README.md of a model, to check and to grade against its runs")
    report.add_argument("--calibration", type=Path, metavar="FILE", help="the noise bands (calibration.json) of the reference")
    report.add_argument("--charts", type=Path, metavar="DIR", help="write every chart there, too, as SVG and PNG")
    report.add_argument("--language", choices=("en", "zh"), default="en", help="in which the page opens; it speaks both")
    report.add_argument("--tasks", action="store_true", help="every task, not only the averages; the page always has them")
    report.add_argument("--benchmark", default="cmteb35")
    report.set_defaults(command=_report)


def _tasks(arguments: argparse.Namespace) -> int:
    from harness.benchmark import load_benchmark
    from harness.listing import tasks_json, tasks_text

    benchmark = load_benchmark(arguments.benchmark)
    print(json.dumps(tasks_json(benchmark), ensure_ascii=False, indent=2) if arguments.format == "json" else tasks_text(benchmark))
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from harness.benchmark import load_benchmark
    from harness.leaderboard import load_rows
    from harness.rendering import table

    benchmark = load_benchmark(arguments.benchmark)
    runs = load_rows(arguments.paths, benchmark)
    against = load_rows([arguments.against], benchmark) if arguments.against else []
    if len(against) > 1:
        raise RequestError(f"--against {arguments.against} holds {len(against)} runs: name one of them")
    print(
        table(
            runs,
            benchmark,
            convention=arguments.convention,
            format=arguments.format,
            tasks=arguments.tasks,
            against=against[0] if against else None,
        )
    )
    return 0


def _claims(arguments: argparse.Namespace) -> int:
    from harness.claims.report import claims_report, render_claims

    report = claims_report(arguments.card, against=arguments.against, noise=arguments.noise, benchmark=arguments.benchmark)
    print(render_claims(report, arguments.format))
    return report.exit_code


def _report(arguments: argparse.Namespace) -> int:
    from harness.benchmark import load_benchmark
    from harness.report.build import build_report
    from harness.report.write import report_text, write_charts, write_text

    if arguments.format == "html" and arguments.output is None:
        raise RequestError("the page needs a file: report PATH... -o report.html (its links are relative to it)")
    report = build_report(
        arguments.paths,
        load_benchmark(arguments.benchmark),
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
