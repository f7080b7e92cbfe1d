"""The command `encode`."""

from argparse import Namespace

from harness.commands.arguments import QUIET, command, name_failed, output_format, overrides, show


@command(overrides(help="what `run` takes, and shard=I/N"), QUIET, output_format)
def encode(arguments: Namespace) -> int:
    """encode one part of a run's texts into the store: encode shard=3/16 gpu=a100 dtype=fp16"""
    from harness.core.config import resolve_request

    resolve_request(arguments.overrides)  # a typo is answered before torch is imported

    from harness.evaluate.here import resolve_here
    from harness.evaluate.parts import encode_part
    from harness.show.live import show_progress
    from harness.show.summaries import part_document

    spec, device = resolve_here(arguments.overrides)
    with show_progress(quiet=arguments.quiet) as progress:
        part = encode_part(spec, device, progress)
    show(part_document(part), arguments.format)
    return name_failed(part.failed)
