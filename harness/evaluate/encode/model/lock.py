"""`python -m harness lock`: what a model is, written into its config and checked from then on."""

import re
from collections.abc import Sequence
from pathlib import Path

from harness.core.config import compose_config
from harness.core.errors import RequestError, unknown
from harness.core.files import atomic_write
from harness.core.resources import config_names, resource_dir
from harness.evaluate.encode.model.locate import find_model, hash_weights


def lock_model(overrides: Sequence[str]) -> str:
    """Find the model that `overrides` name (`model=acge [model.path=DIR]`), and write its hub commit and the SHA-256 of its weights
    into `configs/model/<choice>.yaml`; what was written, as text.

    Raises:
        RequestError: no `model=` among the overrides, or the file has other values already (take them out to lock anew).
        InputError, MachineError: the model can't be had.
    """
    choice = next((text.removeprefix("model=") for text in overrides if text.startswith("model=")), None)
    if choice is None or choice not in config_names("model"):
        raise RequestError(f"lock needs a model: {unknown('model', choice or '', config_names('model'))}")
    spec = compose_config(overrides).model
    located = find_model(spec)
    digest = hash_weights(located.folder, allow_pickle=spec.allow_pickle).digest
    path = resource_dir("configs") / "model" / f"{choice}.yaml"
    found = {"weights_sha256": digest} | ({"revision": located.commit} if located.commit else {})
    text = path.read_text(encoding="utf-8")
    for key, value in found.items():
        text = _set_value(path, text, key, value)
    with atomic_write(path) as stream:
        stream.write(text.encode())
    return "\n".join([f"{path} is locked:", *(f"  {key}: {value}" for key, value in found.items())])


def _set_value(path: Path, text: str, key: str, value: str) -> str:
    present = re.search(rf"^{key}:[ \t]*(\S+)", text, flags=re.MULTILINE)
    if present is None:
        return f"{text.rstrip()}\n{key}: {value}\n"
    if present[1] not in ("null", value):
        raise RequestError(f"{path} is locked to {key}: {present[1]}, found {value}. Set it to null there to lock the model anew")
    return text[: present.start(1)] + value + text[present.end(1) :]
