"""The command `lock`."""

from argparse import Namespace

from harness.commands.arguments import command, overrides, say


@command(overrides())
def lock(arguments: Namespace) -> int:
    """write a model's hub commit and the hash of its weights into its config: lock model=acge"""
    from harness.evaluate.encode.model.lock import lock_model

    say(lock_model(arguments.overrides))
    return 0
