"""The README.md of a model, read and written to the byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from harness.core.errors import InputError, RequestError
from harness.core.files import atomic_write
from harness.show.export.front_matter import Merged, merge_entries
from harness.show.export.model_index import Entry


def merge_into(path: Path, name: str, entries: Sequence[Entry]) -> Merged:
    """Put the entries into the card at a path, whose other bytes stay; what became of them.

    Raises:
        RequestError: there is no such file.
        InputError: it is no UTF-8 text, or its front matter can't be changed at one place alone.
        MachineError: it can't be written.
    """
    if not path.is_file():
        raise RequestError(f"no card at {path}: name a README.md; without --into the front matter is printed, for a file of its own")
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a model card ({error}): name the README.md of a model") from error
    try:
        merged = merge_entries(text, name, entries)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if merged.text != text:
        with atomic_write(path.resolve()) as stream:
            stream.write(merged.text.encode("utf-8"))
    return merged


def merge_summary(path: Path, merged: Merged) -> str:
    """What was done, for a terminal."""
    counts = f"{len(merged.replaced)} entries replaced, {len(merged.added)} added, {len(merged.kept)} others kept"
    lines = [f"{path}: {counts} under the model {merged.model}"]
    if REGEX_YAML_BLOCK.search(merged.text) is None:
        lines.append("the hub does not see this front matter: it wants --- first in the file (no byte order mark) and nothing behind it")
    return "\n".join(lines)
