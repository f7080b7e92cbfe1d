"""Overrides as people type them, made into what Hydra's grammar takes: values of text as they are, and models by any of their names.

Without imports of `config`: nothing is composed here.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from harness.core.dtypes import dtype_named
from harness.core.errors import RequestError, unknown
from harness.core.formatting import few, quoted
from harness.core.registry import registry
from harness.core.resources import config_names, resource_dir
from harness.core.spec import ModelSpec

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_/.+-]*")
_KEYWORDS = {"null", "true", "false", "nan", "inf", "yes", "no", "on", "off"}

_TEXTS = (
    "benchmark",
    "data.root",
    "prompts",
    "results_dir",
    "store",
    *(f"model.{item.name}" for item in fields(ModelSpec) if "str" in str(item.type)),
)
"""Keys whose values are text: what Hydra's grammar does not take is quoted for it."""

_WHOLE = ("model.query_instruction",)
"""Keys whose value is one text whatever stands in it: a comma never makes two runs of one instruction."""


def as_typed(overrides: Sequence[str]) -> list[str]:
    """The overrides in Hydra's grammar. `model=` may name a model of the registry, a folder, or a YAML file of your own; what that says
    comes first, so that every other override counts before it.

    Raises:
        RequestError: the file that `model=` names is wrong.
    """
    words: list[str] = []
    named: list[str] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if key == "model" and equals and not _is_sweep(value):
            named += _model_words(_HUB_PAGE.sub("", value))
        elif key == "model" and equals:
            words.append(f"model={','.join(map(_relative, value.split(',')))}")
        else:
            words.append(_quoted_word(key, value) if equals and key in _TEXTS else _usual_word(key, value) if equals else text)
    return [*named, *words]


def model_file(overrides: Sequence[str], problem: str) -> str:
    """The YAML file that `model=` names, as the start of a message, where the problem is a value of that file; else nothing."""
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    key = re.match(r"[\w.]*", problem)
    in_file = key is not None and key[0].startswith("model.") and key[0] not in given
    return f"{given['model']}: " if in_file and given.get("model", "").endswith((".yaml", ".yml")) else ""


_HUB_PAGE = re.compile(r"^https?://(huggingface\.co|hf-mirror\.com)/|/+$")
"""What surrounds a repository's name in the address of its page."""

_LOWER = ("dtype", "gpu", "data", "row", "experiment")
"""Keys whose choices are in lower case, however they are typed."""


def _usual_word(key: str, value: str) -> str:
    """`dtype=float16` as `dtype=fp16`, `gpu=A100` as `gpu=a100`, `tasks=STSB, BQ` as `tasks=[STSB, BQ]`, `tasks=all` and `tasks=null` as
    `tasks=[]`."""
    if key in _LOWER:
        value = value.lower()
    if key == "dtype":
        value = ",".join(dtype_named(each) or each for each in value.split(","))
    if key == "tasks" and re.fullmatch(r"\s*[\w-]+(\s*,\s*[\w-]+)*\s*", value):
        value = "[]" if value.strip().lower() in ("all", "null") else f"[{value.strip()}]"
    return f"{key}={value}"


def is_model(name: str) -> bool:
    """Whether `model=` takes the name."""
    return name in config_names("model") or registry().find(name) is not None or _is_place(name)


def _model_words(name: str) -> Iterator[str]:
    if name in config_names("model"):
        _check_keys(resource_dir("configs") / "model" / f"{name}.yaml")
        yield f"model={name}"
    elif (model := registry().find(name)) is not None and not Path(name).is_dir():
        values: dict[str, Any] = {"name": model.short, "hub": model.name, "revision": model.revision, "kind": model.kind}
        values |= {"add_eos_token": True} if model.add_eos_token else {}
        yield from ("model=folder", *(override(f"model.{key}", value) for key, value in values.items()))
        if registry().table(model) is not None or (model.instructed and model.kind != "reranker"):
            yield "prompts=model"
    elif name.endswith((".yaml", ".yml")) and Path(name).expanduser().is_file():
        path = Path(name).expanduser()
        try:
            yield from ("model=folder", *[override(f"model.{key}", value) for key, value in _check_keys(path).items()])
        except RecursionError as error:
            raise RequestError(f"{path}: a value is nested too deep: docs/models.md has its keys") from error
    elif _is_place(name):
        yield from ("model=folder", override("model.path", name))
    else:
        yield override("model", name)  # refused with everything else that is wrong


def _check_keys(path: Path) -> dict[str, Any]:
    """The values of a model's file; OmegaConf would only say that composing it failed."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RequestError(f"{path} can't be read as YAML ({error}): docs/models.md has its keys") from error
    known = [item.name for item in fields(ModelSpec)]
    if not isinstance(values, dict):
        raise RequestError(f"{path} holds no keys and values: docs/models.md has its keys")
    if tables := [str(key) for key, value in values.items() if isinstance(value, dict) and key not in ("defaults", "request")]:
        raise RequestError(f"{path}: the value of {few(tables)} is a table, expected text, a number, true or false, or a list")
    if wrong := [str(key) for key in values if key not in known and key != "defaults"]:
        raise RequestError("\n".join(f"{path}: {unknown('key', key, known)}" for key in wrong))
    return values


def _relative(name: str) -> str:
    """A folder of a sweep as Hydra takes it, from here."""
    return f"./{os.path.relpath(Path(name).expanduser())}" if name.startswith(("/", "~")) else name


def _is_place(name: str) -> bool:
    return name.startswith(("./", "../", "/", "~")) or name in (".", "..") or Path(name).is_dir()


def _is_sweep(value: str) -> bool:
    return "," in value or value.startswith(("choice(", "glob(", "range(", "${"))


def _quoted_word(key: str, value: str) -> str:
    """The override with its value quoted where Hydra would not read it as the text that it is; what a user quoted stays."""
    text = f"{key}={value}"
    if key in _WHOLE:
        whole = value == "null" or (len(value) > 1 and value[0] in "'\"" and value[-1] == value[0] and _parses(text))
        return text if whole else override(key, value)
    return text if _parses(text) else override(key, value)


def _parses(text: str) -> bool:
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return True


def override(key: str, value: Any) -> str:
    """The word of the command line that gives the key that Python value: `tasks=[TNews,STS]`, quoted where Hydra's grammar asks for it.

    Raises:
        RequestError: a value of a type that no setting has.
    """
    return f"{key}={_word(value)}"


def _word(value: Any) -> str:
    if hasattr(value, "tolist"):  # a number or an array of numpy, a column of pandas
        value = value.tolist()
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case Path():
            return _word(str(value))
        case str():
            return value if _PLAIN.fullmatch(value) and value.lower() not in _KEYWORDS else _quoted(value)
        case list() | tuple():
            return f"[{','.join(map(_word, value))}]"
        case dict():
            return _quoted(json.dumps(value, ensure_ascii=False))
    shown = f"{quoted(value)} is a {type(value).__name__}"
    raise RequestError(f"{shown}: settings are text, numbers, booleans, None, paths and lists of these")


def _quoted(text: str) -> str:
    if "${" in text:
        raise RequestError(f"{text!r} holds ${{, which configurations read as a reference to another key: no setting can have it")
    return QuotedString(text=text, quote=Quote.single).with_quotes()
