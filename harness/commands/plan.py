"""The command `plan`."""

from argparse import Namespace

from harness.commands.arguments import QUIET, command, output_format, overrides, show


@command(overrides("KEY=VALUE[,VALUE...]"), output_format, QUIET)
def plan(arguments: Namespace) -> int:
    """estimate what a run or a sweep will cost; takes the same settings, and writes nothing"""
    from harness.core.config import expand_sweep

    expand_sweep(arguments.overrides)  # a typo is answered before torch is imported

    from harness.evaluate.plan.planning import make_plan
    from harness.show.live import show_step
    from harness.show.plan import plan_document

    with show_step(quiet=arguments.quiet) as on_step:
        plan = make_plan(arguments.overrides, on_step=on_step)
    show(plan_document(plan), arguments.format)
    return 0
