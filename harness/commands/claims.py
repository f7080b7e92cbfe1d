"""The command `claims`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, command, option, output_format, print_document


@command(
    "check a model card against itself, and --against a run: claims README.md",
    option("card", type=Path, metavar="CARD", help="the README.md of a model, or a folder of results"),
    option("--against", type=Path, metavar="RUN", help="a run folder, published records, or mteb's own result files"),
    option("--noise", type=Path, metavar="FILE", help="the run's calibration.json (python -m harness calibrate RUN)"),
    output_format,
    BENCHMARK,
)
def call(arguments: Namespace) -> int:
    """Check the statements of a model card."""
    from harness.read.claims.report import claims_report
    from harness.show.claims import claims_document

    report = claims_report(arguments.card, against=arguments.against, noise=arguments.noise, benchmark=arguments.benchmark)
    print_document(claims_document(report), arguments.format)
    return report.exit_code
