"""The command `reproduce`."""

from argparse import Namespace

from harness.commands.arguments import QUIET, command, overrides


@command(overrides(help="where the model and the data are"), QUIET)
def reproduce(arguments: Namespace) -> int:
    """rebuild the published table, check the installation on the sample, run the card's rows that this device can run"""
    from harness.core.config import resolve_request

    resolve_request(arguments.overrides)  # a typo is answered before the sample is run

    from harness.commands.stages import reproduce

    return reproduce(arguments.overrides, quiet=arguments.quiet)
