"""The command `export`."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.arguments import BENCHMARK, Group, benchmark_for, command, option, say
from harness.core.formatting import amount

if TYPE_CHECKING:
    from harness.core.benchmarks import Benchmark
    from harness.show.export.selection import Selection

_SHARED = (
    option("run", type=Path, metavar="RUN", help="a run folder, published records, mteb's own result files, or a model card"),
    option("--other-data", action="store_true", help="also scores on other data than C-MTEB's, under names that say so"),
    BENCHMARK,
)


@command(
    option("--into", type=Path, metavar="README.md", help="the card to put the entries into; everything else in it stays"),
    option("--name", metavar="NAME", help="the model's name in the model-index (that of the run's repository or config)"),
    *_SHARED,
)
def _model_index(arguments: Namespace) -> int:
    """print the front matter of a model card, or put it into one"""
    from harness.show.export.model_index import card_model_name, index_entries, index_yaml, merge_into, merge_summary
    from harness.show.streams import writing

    _, selection = _selected(arguments)
    name, entries = arguments.name or card_model_name(selection.run), index_entries(selection)
    if arguments.into:
        say(merge_summary(arguments.into, merge_into(arguments.into, name, entries)))
    else:
        with writing() as stdout:
            print(f"---\n{index_yaml(name, entries)}---", file=stdout)
    return _done(selection)


@command(
    option("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder that mteb.ResultCache(DIR) will read"),
    option("--name", metavar="ORGANIZATION/MODEL", help="the model's name on the hub (that of the run's repository)"),
    *_SHARED,
)
def _mteb(arguments: Namespace) -> int:
    """write a folder of results as mteb 2 keeps them"""
    from harness.show.export.mteb2 import write_results, written_lines

    _, selection = _selected(arguments)
    say("\n".join(written_lines(write_results(selection, arguments.output, name=arguments.name))))
    return _done(selection)


@command(option("-o", "--output", type=Path, required=True, metavar="DIR", help="the clone of the model's repository"), *_SHARED)
def _eval_results(arguments: Namespace) -> int:
    """write the .eval_results folder of a model's repository"""
    from harness.show.export.eval_results import write_eval_results

    benchmark, selection = _selected(arguments)
    written = write_eval_results(selection, benchmark, arguments.output)
    say(f"{written.paths[0].parent}: {amount(len(written.paths), 'task')}")
    if written.left_out:
        say(f"left out, without mteb 2's main metric (a run with benchmark=cmn_v1 has it): {', '.join(written.left_out)}")
    return _done(selection)


def _selected(arguments: Namespace) -> tuple[Benchmark, Selection]:
    from harness.read.runs import one_run
    from harness.show.export.selection import select_scores

    benchmark = benchmark_for(arguments, arguments.run)
    return benchmark, select_scores(one_run(arguments.run, benchmark), benchmark, other_data=arguments.other_data)


def _done(selection: Selection) -> int:
    for note in selection.notes:
        say(f"note: {note}", file=sys.stderr)
    return 0


export = Group(
    "export",
    "write a run for other tools: export model-index RUN [--into README.md], export mteb RUN -o DIR, export eval-results RUN -o DIR",
    "FORMAT",
    (_model_index, _mteb, _eval_results),
)
