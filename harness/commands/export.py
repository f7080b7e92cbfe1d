"""Write a run in the formats of others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark


def add_parser(commands: Commands) -> None:
    """Add the command."""
    export = commands.add_parser("export", help="a run for others: export model-index RUN [--into README.md], export mteb RUN -o DIR")
    formats = export.add_subparsers(required=True, metavar="FORMAT")

    index = formats.add_parser("model-index", help="the front matter of a model card, printed or put into one")
    index.add_argument("--into", type=Path, metavar="README.md", help="the card to put the entries into; everything else in it stays")
    index.add_argument("--name", metavar="NAME", help="the model's name in the model-index (that of the run's repository or config)")
    index.set_defaults(command=_model_index)

    mteb = formats.add_parser("mteb", help="a folder of mteb 2's results")
    mteb.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="what mteb.ResultCache(DIR) is to read")
    mteb.add_argument("--name", metavar="ORGANIZATION/MODEL", help="the model's name on the hub (that of the run's repository)")
    mteb.set_defaults(command=_mteb)

    for parser in (index, mteb):
        parser.add_argument(
            "run", type=Path, metavar="RUN", help="a run folder, published records, mteb's own result files, or a model card"
        )
        parser.add_argument("--other-data", action="store_true", help="scores on other data than C-MTEB's, too, under names that say so")
        add_benchmark(parser)


def _model_index(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.leaderboard import one_run
    from harness.show.export.model_index import card_model_name, index_entries, index_yaml
    from harness.show.export.readme import merge_into, merge_summary
    from harness.show.export.selection import select_scores

    benchmark = load_benchmark(arguments.benchmark)
    run = one_run(arguments.run, benchmark)
    selection = select_scores(run, benchmark, other_data=arguments.other_data)
    name, entries = arguments.name or card_model_name(run), index_entries(selection)
    if arguments.into:
        print(merge_summary(arguments.into, merge_into(arguments.into, name, entries)))
    else:
        print(f"---\n{index_yaml(name, entries)}---")
    _tell(selection.notes)
    return 0


def _mteb(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.leaderboard import one_run
    from harness.show.export.mteb2 import write_results, written_lines
    from harness.show.export.selection import select_scores

    benchmark = load_benchmark(arguments.benchmark)
    selection = select_scores(one_run(arguments.run, benchmark), benchmark, other_data=arguments.other_data)
    written = write_results(selection, arguments.output, name=arguments.name)
    print("\n".join(written_lines(written)))
    _tell(selection.notes)
    return 0


def _tell(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
