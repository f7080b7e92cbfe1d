"""Say what a run or a sweep will cost."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands, add_quiet


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("plan", help="what a run or a sweep will cost, before it does; takes what they take, and writes nothing")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE[,VALUE...]", help="plan gpu=a100 dtype=fp16 max_len=512,1024")
    parser.add_argument("--json", action="store_true", help="every figure, for programs")
    add_quiet(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.evaluate.plan.planning import make_plan
    from harness.show.form import write_document
    from harness.show.live import show_step
    from harness.show.plan import plan_document

    with show_step(quiet=arguments.quiet) as on_step:
        plan = make_plan(arguments.overrides, on_step=on_step)
    print(write_document(plan_document(plan), "json" if arguments.json else "text"))
    return 0
