"""Help and tab completion for commands that take settings: every key, what it takes, and what it means, from `configs/` itself."""

import re
from dataclasses import fields
from shutil import get_terminal_size
from textwrap import wrap

from harness.core.resources import resource_dir

_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+): *(?P<value>.*?)(?: +# (?P<about>.*))?$")
_EXAMPLES = (
    "run gpu=a100 dtype=fp16 max_len=512",
    "run model=folder model.path=DIR tasks=[STS,TNews]",
    "run model=sample data=sample",
)


def complete_setting(prefix: str, **_: object) -> list[str]:
    """The settings that begin with what was typed: a key, or after its `=` one of its values (in a list: the last one)."""
    from harness.core.benchmarks import DEFAULT, load_benchmark
    from harness.core.config import GROUPS
    from harness.core.registry import registry
    from harness.core.resources import config_names
    from harness.core.schema import RunConfig, schema_keys
    from harness.core.tasks import TASK_TYPES

    key, given, value = prefix.partition("=")
    keys = schema_keys(RunConfig)
    if not given:
        return [f"{each}=" for each in (*GROUPS, *keys)]
    keys |= {group: config_names(group) for group in GROUPS} | {"benchmark": config_names("benchmarks"), "prompts": ["none", "model"]}
    keys["model"] += [model.short for model in registry().models]
    keys["tasks"] = [*TASK_TYPES, *(task.name for task in load_benchmark(DEFAULT).tasks)]
    before = value[: max(value.rfind(","), value.rfind("[")) + 1]
    return [f"{key}={before}{each}" for each in keys.get(key, ())]


def settings_help() -> str:
    """The settings of a run, for the end of a command's help."""
    from harness.core.resources import config_names

    text = (resource_dir("configs") / "config.yaml").read_text(encoding="utf-8")
    lines = ["settings, each with its default (configs/config.yaml):"]
    for group, default in re.findall(r"^  - (?:optional )?(model|gpu|data|row|experiment): (\w+)", text, flags=re.MULTILINE):
        lines += _entry(f"{group}={default}", f"one of {', '.join(config_names(group))}")
    parent = ""
    for match in filter(None, map(_LINE.match, text.partition("\nbenchmark:")[2].join(("benchmark:", "")).splitlines())):
        if not match["value"]:
            parent = f"{match['key']}."
            continue
        parent = parent if match["indent"] else ""
        lines += _entry(f"{parent}{match['key']}={match['value']}", match["about"] or "")
    lines += ["", "settings of the parts:", *_parts(), "", "examples:"]
    return "\n".join([*lines, *(f"  python -m harness {example}" for example in _EXAMPLES)])


def _width() -> int:
    return max(40, min(100, get_terminal_size().columns))


def _entry(setting: str, about: str) -> list[str]:
    first, *rest = wrap(about, _width() - 26) or [""]
    return [f"  {setting:<22}  {first}".rstrip(), *(f"{'':26}{line}" for line in rest)]


def _parts() -> list[str]:
    from harness.core.spec import DataSpec, EncodingSpec, GpuSpec, ModelSpec

    lines = []
    for group, kind in (("model", ModelSpec), ("gpu", GpuSpec), ("data", DataSpec)):
        own = [each for item in fields(kind) for each in (fields(EncodingSpec) if item.metadata.get("inline") else (item,))]
        lines += [f"  {line}" for line in wrap(", ".join(f"{group}.{item.name}" for item in own), _width() - 2)]
    return lines
