"""The command `doctor`."""

from argparse import Namespace

from harness.commands.arguments import command, output_format, overrides, show


@command(overrides(), output_format)
def doctor(arguments: Namespace) -> int:
    """check what this machine has, and what `make reproduce` would do here"""
    from harness.evaluate.doctor import diagnose
    from harness.show.doctor import doctor_document

    diagnosis = diagnose(arguments.overrides)
    show(doctor_document(diagnosis), arguments.format)
    return 0 if diagnosis.healthy else 1
