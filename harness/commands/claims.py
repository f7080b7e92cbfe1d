"""The command `claims`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, command, option, output_format, show
from harness.core.errors import RequestError

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
    from harness.read.claims.report import claims_report, published_results
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
