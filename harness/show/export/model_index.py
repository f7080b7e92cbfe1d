"""The model-index of a model card, as mteb 1's `mteb_meta.py` wrote the one of acge's card (names, order, percent), and how its entries are
put into a README.md: the text is cut and spliced where YAML's parser says, never written anew.

Every character outside of the entries that are replaced stays: comments, order, quotes, line ends, a byte order mark, a missing last
newline. What came out is parsed again and compared with what was meant before anybody writes it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from harness.core.errors import InputError, RequestError
from harness.core.files import atomic_write
from harness.core.formatting import bare_name
from harness.core.records import Run, flat_metrics
from harness.read.cards.entries import near_repository
from harness.show.export.selection import OTHER_DATA, Exported, Selection

Entry = Mapping[str, Any]
"""One element of `results`: `task`, `dataset` and `metrics`, as YAML has them."""

_NEVER_FOLDED = 1 << 20
_LINE_ENDS = "\x85\u2028\u2029"  # PyYAML writes them as they are, and reads them as line ends

# A superset of what huggingface_hub takes for a front matter: it allows blank lines above, but neither a byte order mark nor spaces.
_FRONT_MATTER = re.compile(r"\A(\ufeff?\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*\r?$.*)\Z", re.DOTALL | re.MULTILINE)
_EMPTY = ("", "~", "null", "Null", "NULL")


def card_model_name(run: Run) -> str:
    """How a card would call the run's model: the last part of its repository, else the name that the run has."""
    loaded, asked = run.manifest.model, run.manifest.spec.model if run.manifest.spec else None
    repository = (loaded.repository if loaded else None) or (asked.hub if asked else None)
    return (repository or run.header.model).rpartition("/")[2]


def index_entries(selection: Selection) -> tuple[Entry, ...]:
    """An entry per task, sorted by the task's name, its metrics sorted by theirs; values 0 to 100.

    The metrics are the benchmark's (no thresholds, no standard errors), those that the record has. A score on other data has neither the
    repository nor the revision of the benchmark, and its name says so.
    """
    return tuple(_entry(each) for each in selection.tasks)


def index_yaml(name: str, entries: Sequence[Entry]) -> str:
    """The `model-index` of one model as YAML in block style, with a newline at the end."""
    return dump({"model-index": [{"name": name, "results": [dict(entry) for entry in entries]}]})


def dump(value: Any, *, flow: bool = False) -> str:
    """YAML on unfolded lines, in the order of the keys; floats come back to the last bit from any YAML 1.1 parser."""

    def dumped(*, unicode: bool) -> str:
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=unicode, width=_NEVER_FOLDED, default_flow_style=flow)

    text = dumped(unicode=True)
    return text if set(text).isdisjoint(_LINE_ENDS) else dumped(unicode=False)


def _entry(each: Exported) -> Entry:
    task, record = each.task, each.record
    flat = flat_metrics(record.metrics, task)
    names = sorted(task.flat_metrics)
    dataset = {"type": task.hub, "name": task.card_name, "config": task.config, "split": task.split}
    if not each.on_benchmark:
        dataset["type"] = f"{OTHER_DATA.replace(' ', '-')}/{task.name}"
        dataset["name"] += f", {OTHER_DATA} data ({each.source})"
    elif record.dataset_revision:
        dataset["revision"] = record.dataset_revision
    metrics = [{"type": name, "value": 100 * flat[name]} for name in names if name in flat]
    return {"task": {"type": task.type}, "dataset": dataset, "metrics": metrics}


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The text of the card with the entries in it. `model`: the name under which they stand.

    `replaced`, `added`, `kept`: the names of the data sets, by what became of their entries.
    """

    text: str
    model: str
    replaced: tuple[str, ...]
    added: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


def merge_into(path: Path, name: str, entries: Sequence[Entry]) -> Merged:
    """Put the entries into the card at a path, whose other bytes stay; what became of them.

    Raises:
        RequestError: there is no such file.
        InputError: it is no UTF-8 text, or its front matter can't be changed at one place alone.
        MachineError: it can't be written.
    """
    if not path.is_file():
        raise RequestError(f"no card at {path}: name a README.md. Without --into the front matter is printed")
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a model card ({error}): name the README.md of a model, in UTF-8") from error
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
        lines.append("the hub does not read this front matter: --- must come first in the file (no byte order mark), with nothing after it")
    return "\n".join(lines)


def merge_entries(text: str, name: str, entries: Sequence[Entry]) -> Merged:
    """The card with these entries in its model-index.

    An entry takes the place of the one with its repository and split and its config or name, or of one with its name and split under
    nearly that repository; others are added at the end of the list.

    Raises:
        InputError: the front matter can't be read, has a data set twice, or can't be changed at one place alone.
        RequestError: the card is of another model, or of several of which none has this name.
    """
    newline = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
    match = _FRONT_MATTER.match(text)
    if match is None:
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        if text.lstrip("\ufeff \t\r\n").startswith("---"):
            raise InputError("the card begins with --- and its front matter has no end: close it with a line of ---")
        body = f"---{newline}{index_yaml(name, entries).replace(chr(10), newline)}---{newline}"
        return Merged(text=mark + body + text[len(mark) :], model=name, replaced=(), added=_titles(entries), kept=())
    opening, front, rest = match.groups()
    try:
        merged = _merge(front, name, entries, newline)
    except RecursionError as error:  # an alias inside of its own anchor
        raise InputError("the front matter of the card is nested without end: correct it") from error
    return Merged(text=opening + merged.text + rest, model=merged.model, replaced=merged.replaced, added=merged.added, kept=merged.kept)


def _merge(front: str, name: str, entries: Sequence[Entry], newline: str) -> Merged:
    root = _compose(front)
    index = _value(root, "model-index")
    if index is None or _is_empty(index):
        text = _apply(front, [_whole_index(front, root, name, entries, newline)])
        done = Merged(text=text, model=name, replaced=(), added=_titles(entries), kept=())
        _verify(front, text, 0, {"name": name, "results": [_strings(entry) for entry in entries]})
        return done
    position, model = _model(index, name)
    results = _value(model, "results")
    if results is None or not (isinstance(results, yaml.SequenceNode) or _is_empty(results)):
        raise InputError("the model-index of the card has no list of results: write `results: []` there")
    existing = [_plain(node) for node in results.value] if isinstance(results, yaml.SequenceNode) else []
    places = {number: _place(existing, entry) for number, entry in enumerate(entries)}
    replaced = {place: entries[number] for number, place in places.items() if place is not None}
    added = [entries[number] for number, place in places.items() if place is None]
    edits = [_replacement(front, results, place, entry, newline) for place, entry in sorted(replaced.items())]
    if added:
        edits.append(_addition(front, model, results, added, newline))
    text = _apply(front, edits)
    wanted = [_strings(replaced[number]) if number in replaced else entry for number, entry in enumerate(existing)]
    _verify(front, text, position, _plain(model) | {"results": wanted + [_strings(entry) for entry in added]})
    kept = tuple(_title(entry) for number, entry in enumerate(existing) if number not in replaced)
    found = str(_plain(model).get("name", name))
    return Merged(text=text, model=found, replaced=_titles(list(replaced.values())), added=_titles(added), kept=kept)


def _compose(front: str) -> yaml.MappingNode | None:
    try:
        root = yaml.compose(front, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"the front matter of the card is no YAML ({' '.join(str(error).split())}): correct it") from error
    if root is None:
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise InputError("the front matter of the card is no mapping in block style: write `key: value`, one per line")
    return root


def _value(mapping: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(mapping, yaml.MappingNode):
        return None
    found = [value for name, value in mapping.value if name.value == key]
    if len(found) > 1:
        raise InputError(f"the front matter of the card has {key!r} {len(found)} times: keep one of them")
    return found[0] if found else None


def _is_empty(node: yaml.Node) -> bool:
    return (isinstance(node, yaml.ScalarNode) and node.value in _EMPTY) or (isinstance(node, yaml.SequenceNode) and not node.value)


def _model(index: yaml.Node, name: str) -> tuple[int, yaml.MappingNode]:
    models = index.value if isinstance(index, yaml.SequenceNode) else []
    if not models or not all(isinstance(model, yaml.MappingNode) for model in models):
        raise InputError("the model-index of the card is no list of models, as the hub expects it: correct or remove it")
    names = [str(_plain(model).get("name")) for model in models]
    if len(models) == 1:
        if bare_name(names[0]) != bare_name(name):
            raise RequestError(
                f"the card is of the model {names[0]!r}, the scores are of {name!r}: if that is one model, add --name {names[0]!r}"
            )
        return 0, models[0]
    if names.count(name) != 1:
        raise RequestError(
            f"the model-index of the card has {len(models)} models ({', '.join(names)}), not one {name!r}: name it with --name"
        )
    return names.index(name), models[names.index(name)]


def _place(existing: Sequence[Any], entry: Entry) -> int | None:
    wanted = entry["dataset"]
    datasets = [found.get("dataset") if isinstance(found, dict) else None for found in existing]
    places = [
        number
        for number, found in enumerate(datasets)
        if isinstance(found, dict)
        and all(found.get(key) == wanted[key] for key in ("type", "split"))
        and (found.get("config") == wanted["config"] or found.get("name") == wanted["name"])
    ]
    places = places or [number for number, found in enumerate(datasets) if isinstance(found, dict) and _near(found, wanted)]
    if len(places) > 1:
        raise InputError(f"the model-index of the card has {wanted['name']} {len(places)} times: remove all but one")
    return places[0] if places else None


def _near(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a data set is the wanted one but for how its repository's name ends, as readers of cards take it."""
    same = all(found.get(key) == wanted[key] for key in ("name", "split"))
    return same and near_repository(str(found.get("type")), wanted["type"])


def _whole_index(front: str, root: yaml.MappingNode | None, name: str, entries: Sequence[Entry], newline: str) -> _Edit:
    column = root.start_mark.column if root else 0
    block = _indented(index_yaml(name, entries), column, newline)
    for key, value in root.value if root else ():
        if key.value == "model-index":
            return _Edit(key.start_mark.index, max(_end(value), key.end_mark.index + 1), block)
    return _Edit(len(front), len(front), " " * column + block + newline)


def _replacement(front: str, results: yaml.Node, place: int, entry: Entry, newline: str) -> _Edit:
    node = results.value[place]
    if isinstance(results, yaml.SequenceNode) and results.flow_style:
        return _Edit(node.start_mark.index, _end(node), dump(dict(entry), flow=True).strip())
    return _Edit(node.start_mark.index, _line_end(front, _end(node)), _indented(dump(dict(entry)), node.start_mark.column, newline))


def _addition(front: str, model: yaml.MappingNode, results: yaml.Node, entries: Sequence[Entry], newline: str) -> _Edit:
    block = dump([dict(entry) for entry in entries])
    items = dump([dict(entry) for entry in entries], flow=True).strip()
    if isinstance(results, yaml.SequenceNode) and results.value:
        end = _end(results.value[-1])
        if results.flow_style:
            return _Edit(end, end, f", {items[1:-1]}")
        end, column = _line_end(front, end), results.start_mark.column
        return _Edit(end, end, newline + " " * column + _indented(block, column, newline))
    if model.flow_style:
        return _Edit(results.start_mark.index, results.end_mark.index, f" {items}")
    column = next(key.start_mark.column for key, value in model.value if value is results)
    return _Edit(results.start_mark.index, results.end_mark.index, newline + " " * column + _indented(block, column, newline))


def _indented(block: str, column: int, newline: str) -> str:
    """The lines of the block, all but the first one indented, without the last line end."""
    return (newline + " " * column).join(block.rstrip("\n").split("\n"))


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends: a block collection's own mark lies behind the blank lines and comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


def _line_end(front: str, position: int) -> int:
    """The end of the line without its line end: what stands behind a replaced value is a comment on it. Block scalars end a line later."""
    while position and front[position - 1] in "\r\n":
        position -= 1
    rest = re.compile(r"[^\r\n]*").match(front, position)
    return rest.end() if rest else position


def _apply(front: str, edits: Sequence[_Edit]) -> str:
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        front = front[: edit.start] + edit.text + front[edit.end :]
    return front


def _verify(before: str, after: str, position: int, model: dict[str, Any]) -> None:
    """Everything but the one model is as it was, and that is as it was meant."""
    old, new = _load(before), _load(after)
    models = old.pop("model-index", None)
    models = list(models) if isinstance(models, list) else []
    models[position : position + 1] = [model]
    if new.pop("model-index", None) != models or new != old:
        raise InputError(
            "the model-index of the card can't be changed without changing other parts of its front matter (an anchor, an alias?): "
            "write it out, or put the entries in by hand; without --into they are printed"
        )


def _load(front: str) -> dict[str, Any]:
    try:
        # Strings for all scalars: what counts is that they are written as they were.
        found = yaml.load(front, Loader=yaml.BaseLoader)  # noqa: S506 (builds strings, lists and dicts only)
    except yaml.YAMLError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _strings(entry: Entry) -> Any:
    return yaml.load(dump(dict(entry)), Loader=yaml.BaseLoader)  # noqa: S506


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _plain(value) for key, value in node.value}
    return [_plain(each) for each in node.value] if isinstance(node, yaml.SequenceNode) else node.value


def _title(entry: Any) -> str:
    dataset = entry.get("dataset") if isinstance(entry, dict) else None
    return str(dataset.get("name") or dataset.get("type")) if isinstance(dataset, dict) else "an entry without a data set"


def _titles(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(_title(entry) for entry in entries)
