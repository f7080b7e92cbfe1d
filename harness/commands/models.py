"""The command `models`."""

from argparse import Namespace

from harness.commands.arguments import command, option, output_format, show


@command(option("word", nargs="?", metavar="WORD", help="only those with this word in their name or architecture"), output_format)
def models(arguments: Namespace) -> int:
    """print the models that model=NAME takes: kind, size, prompts, revision"""
    from harness.core.resources import config_names
    from harness.show.models import models_document

    show(models_document(arguments.word, config_names("model")), arguments.format)
    return 0
