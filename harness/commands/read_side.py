"""The commands that only read: the benchmark's table, folders of results, model cards."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness.core.errors import RequestError


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
    claims.add_argument("--noise", type=Path, metavar="FILE", help="the run's calibration.json (python -m harness calibrate RUN)")
    claims.add_argument("--format", choices=("text", "md", "json"), default="text")
    claims.add_argument("--benchmark", default="cmteb35")
    claims.set_defaults(command=_claims)

    check = commands.add_parser("check", help="did a score drift? check BASELINE CANDIDATE; exit code 3 if one did, 2 if they are unlike")
    check.add_argument("baseline", type=Path, metavar="BASELINE", help="a run folder, such as one of results/baselines")
    check.add_argument("candidate", type=Path, metavar="CANDIDATE", help="the run to be checked")
    check.add_argument("--calibration", type=Path, metavar="FILE", help="the baseline's tolerances (BASELINE/calibration.json)")
    check.add_argument("--tasks", type=_names, default=[], metavar="TASK[,TASK]", help="only these tasks or types of the baseline")
    check.add_argument("--main-only", action="store_true", help="only the metrics that the leaderboard averages close the gate")
    check.add_argument("--allow-unlike", action="store_true", help="compare across protocol, data, model, dtype, length or dimension")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML, too")
    check.add_argument("--benchmark", default="cmteb35")
    check.set_defaults(command=_check)

    baseline = commands.add_parser("baseline", help="the runs that others are checked against: accept RUN --why TEXT, list")
    actions = baseline.add_subparsers(required=True, metavar="ACTION")
    accept = actions.add_parser("accept", help="copy a complete run to results/baselines and log the reason")
    accept.add_argument("run", type=Path, metavar="RUN", help="a run folder, calibrated at best")
    accept.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the log")
    accept.add_argument("--name", metavar="NAME", help="the baseline's folder below the model's (that of the run)")
    accept.add_argument("--to", type=Path, default=Path("results/baselines"), metavar="DIR")
    accept.add_argument("--tasks", type=_names, default=[], metavar="TASK[,TASK]", help="what it is to cover, not the whole benchmark")
    accept.add_argument("--benchmark", default="cmteb35")
    accept.set_defaults(command=_accept)
    listing = actions.add_parser("list", help="the baselines, and who accepted them why")
    listing.add_argument("--to", type=Path, default=Path("results/baselines"), metavar="DIR")
    listing.add_argument("--benchmark", default="cmteb35")
    listing.set_defaults(command=_baselines)

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

    explain = commands.add_parser("explain", help="what changing one setting did, on the same examples: explain RUN RUN ...")
    explain.add_argument("paths", nargs="+", type=Path, metavar="RUN", help="a run folder, a folder that holds some, or a card")
    explain.add_argument("--format", choices=("text", "md", "json"), default="text")
    explain.add_argument("--examples", type=int, default=3, metavar="N", help="list the N examples of each task that moved most (3)")
    explain.add_argument("--benchmark", default="cmteb35")
    explain.set_defaults(command=_explain)


def _names(text: str) -> list[str]:
    """What an option with several values takes: one word, so that none of the arguments behind it is taken for a further value."""
    return text.split(",")


def _tasks(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.show.tasks import tasks_json, tasks_text

    benchmark = load_benchmark(arguments.benchmark)
    print(json.dumps(tasks_json(benchmark), ensure_ascii=False, indent=2) if arguments.format == "json" else tasks_text(benchmark))
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.leaderboard import load_rows
    from harness.show.leaderboard import table

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


def _explain(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.explain.build import explain
    from harness.show.explain import render

    if arguments.examples < 0:
        raise RequestError(f"--examples {arguments.examples}: expected 0 (none) or more")
    told = explain(arguments.paths, load_benchmark(arguments.benchmark), examples=arguments.examples)
    print(render(told, arguments.format))
    return 0


def _claims(arguments: argparse.Namespace) -> int:
    from harness.read.claims.report import claims_report
    from harness.show.claims import render_claims

    report = claims_report(arguments.card, against=arguments.against, noise=arguments.noise, benchmark=arguments.benchmark)
    print(render_claims(report, arguments.format))
    return report.exit_code


def _report(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.show.report.build import build_report
    from harness.show.report.write import report_text, write_charts, write_text

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


def _check(arguments: argparse.Namespace) -> int:
    import os
    import sys

    from harness.core.benchmark import load_benchmark
    from harness.read.drift.check import check_folders
    from harness.show.ci import append_summary, workflow_commands, write_junit
    from harness.show.drift import drift_json, drift_text

    report = check_folders(
        arguments.baseline,
        arguments.candidate,
        load_benchmark(arguments.benchmark),
        calibration=arguments.calibration,
        tasks=arguments.tasks,
        allow_unlike=arguments.allow_unlike,
        main_only=arguments.main_only,
    )
    print(drift_json(report) if arguments.json else drift_text(report))
    for line in workflow_commands(os.environ, report):
        print(line, file=sys.stderr)
    append_summary(os.environ, report)
    if arguments.junit:
        write_junit(arguments.junit, report)
    return report.exit_code


def _accept(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from harness.core.benchmark import load_benchmark
    from harness.core.environment import git_user
    from harness.read.drift.baselines import accept_baseline, accepted_lines
    from harness.read.drift.check import one_run
    from harness.show.drift import drift_text

    benchmark = load_benchmark(arguments.benchmark)
    accepted = accept_baseline(
        one_run(arguments.run, benchmark),
        benchmark,
        to=arguments.to,
        why=arguments.why,
        who=git_user(),
        when=datetime.now(tz=UTC),
        name=arguments.name,
        tasks=arguments.tasks,
    )
    if accepted.changes:
        print(f"{drift_text(accepted.changes)}\n")
    print("\n".join(accepted_lines(accepted)))
    return 0


def _baselines(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.drift.baselines import list_baselines, listed_lines

    listed = list_baselines(arguments.to, load_benchmark(arguments.benchmark))
    print("\n".join(listed_lines(listed)))
    return 1 if any(each.problem for each in listed) else 0
