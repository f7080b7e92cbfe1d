"""Check the statements of a model card."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark, add_format


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("claims", help="check a model card against itself, and --against a run: claims README.md")
    parser.add_argument("card", type=Path, metavar="CARD", help="the README.md of a model, or a folder of results")
    parser.add_argument("--against", type=Path, metavar="RUN", help="a run folder, published records, or mteb's own result files")
    parser.add_argument("--noise", type=Path, metavar="FILE", help="the run's calibration.json (python -m harness calibrate RUN)")
    add_format(parser)
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.read.claims.report import claims_report
    from harness.show.claims import render_claims

    report = claims_report(arguments.card, against=arguments.against, noise=arguments.noise, benchmark=arguments.benchmark)
    print(render_claims(report, arguments.format))
    return report.exit_code
