"""Which files of a repository or a folder hold a table: a pure function of their names.

C-MTEB keeps `data/<split>-00000-of-00001-<hash>.parquet`; mteb's older multilingual repositories `<config>/<split>.jsonl`, its converted
ones `<split>/<config>.json.gz` or `<config>/<split>-00000-of-00001.parquet`; folders made by hand `<split>.jsonl.gz`. Retrieval has a
folder per table in mteb 2's re-uploads (`corpus/<split>-...parquet`), as Reranking has there, with `top_ranked`; judgements are
`qrels/<split>.tsv` in BEIR's form. The hub's own copies in Parquet are `<config>/<split>/0000.parquet`. What `save_to_disk` of `datasets`
writes is `<split>/data-00000-of-00001.arrow`. The two MASSIVE repositories have, at the revision the card names, nothing but a loading
script and the archive it reads: the archive is read here the way that script did. No loading script is ever run.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.errors import InputError
from harness.core.formatting import few
from harness.core.tasks import TaskSpec

FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
"""What a table file may end in; `.json` and `.json.gz` hold JSON lines too, or one array of objects."""

LOCAL_FORMATS = (*FORMATS, ".jsonl.zst", ".ndjson", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".arrow")
"""What a table file of a folder may end in; of the hub's repositories only `FORMATS` are read."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.(?:parquet|arrow)")
_CONVERTED = re.compile(r"/(\d{4})\.parquet")
_MASSIVE = "amazon-massive-dataset-1.0.tar.gz"
_MASSIVE_LABEL = {"mteb/amazon_massive_intent": "intent", "mteb/amazon_massive_scenario": "scenario"}
_MASSIVE_PARTITION = {"train": "train", "validation": "dev", "test": "test"}


@dataclass(frozen=True)
class Part:
    """A file that holds a table or a shard of it, by its path within the repository or folder, and how to read the table out of it.

    `member`: the file inside, where `name` is a tar archive. `columns` maps a column to what this file calls it, where that differs.
    `only`: a column and the value that a row of this table has in it; without `member`, it counts only where the file has the column.
    """

    name: str
    member: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, str] | None = None

    @property
    def suffix(self) -> str:
        """What the name ends in, one of `LOCAL_FORMATS` or `.tar.gz`."""
        return next((suffix for suffix in (".tar.gz", *LOCAL_FORMATS) if self.name.endswith(suffix)), "")


def find_parts(task: TaskSpec, split: str, names: Iterable[str], *, place: str, formats: Sequence[str] = FORMATS) -> tuple[Part, ...]:
    """The files that hold a split of the task, among `names` (paths within `place`), shards in order; empty when there are none.

    Files of the task's own language go before files of all languages, whose rows differ in a `lang` column.

    Raises:
        InputError: several files claim the split, or a shard is missing.
    """
    known = sorted(names)
    only = None if task.config == "default" else ("lang", task.config)
    own = (f"{task.config}/{split}", f"{split}/{task.config}", f"data/{task.config}/{split}")
    foldered = (f"{split}/{task.split}", f"{split}/{split}", f"{split}/data") if split != task.split else (f"{split}/data",)
    for bases in ((*own, split, f"data/{split}", *foldered),) if only is None else (own, (split, f"data/{split}", *foldered)):
        groups = _groups(bases, known, formats, place)
        if len(groups) > 1:
            raise InputError(
                f"{place} has several files for {split!r} of {task.name}: {', '.join(name for group in groups for name in group)}. "
                "Keep one of them."
            )
        if groups:
            return tuple(Part(name, only=only) for name in groups[0])
    label = _MASSIVE_LABEL.get(task.hub)
    if label is not None and _MASSIVE in known and split in _MASSIVE_PARTITION:
        columns = {"text": "utt", "label": label}
        partition = ("partition", _MASSIVE_PARTITION[split])
        return (Part(_MASSIVE, member=f"1.0/data/{task.config}.jsonl", columns=columns, only=partition),)
    return ()


RANKED = ("corpus", "queries", "top_ranked", "qrels")
"""The tables of a Reranking in mteb 2's own repositories, in the order in which they are fetched."""


def find_ranked(
    task: TaskSpec, names: Iterable[str], *, place: str, formats: Sequence[str] = FORMATS
) -> dict[str, tuple[Part, ...]] | None:
    """The files of a Reranking as mteb 2 keeps it, by table; None where not all of them are there. The judgements are its default config,
    which may lie where others keep the rows: so this is asked for before them. Raises as `find_parts` does."""
    if task.type != "Reranking":
        return None
    known = list(names)
    parts = {table: find_parts(task, table, known, place=place, formats=formats) for table in RANKED}
    parts["qrels"] = parts["qrels"] or find_parts(task, task.split, known, place=place, formats=formats)
    return parts if all(parts.values()) else None


def is_unnumbered(part: Part) -> bool:
    """Whether the name does not say how many files the table has: `0000.parquet` is the first of one or of several."""
    return _CONVERTED.search(part.name) is not None


def mirror_name(table: str, part: Part) -> str:
    """The name under which a folder made by `fetch` keeps the part, so that `find_parts` finds it there."""
    if part.member is not None:
        return part.name
    shard = _SHARD.search(part.name)
    if shard is not None and shard[2] != "00001":
        return f"{table}-{shard[1]}-of-{shard[2]}.parquet"
    converted = _CONVERTED.search(part.name)
    return table + (converted[0] if converted else part.suffix)


def _groups(bases: Iterable[str], names: list[str], formats: Sequence[str], place: str) -> list[list[str]]:
    """The names that are a base with a known ending; each single file is a group, so is each set of shards."""
    singles: list[list[str]] = []
    shards: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for base in bases:
        for name in names:
            if not name.startswith(base):
                continue
            ending = name[len(base) :]
            if ending in formats:
                singles.append([name])
            elif (shard := _SHARD.fullmatch(ending)) and ending.endswith(tuple(formats)):
                shards.setdefault((base, shard[2]), []).append((shard[1], name))
            elif converted := _CONVERTED.fullmatch(ending):
                shards.setdefault((f"{base}/", ""), []).append((converted[1], name))
    for (base, total), found in shards.items():
        indexes = [index for index, _ in found]
        wanted = [f"{index:05d}" for index in range(int(total))] if total else [f"{index:04d}" for index in range(int(indexes[-1]) + 1)]
        if set(indexes) != set(wanted):
            missing = few(sorted(set(wanted) - set(indexes)))
            raise InputError(f"{place}/{base}*: shards {missing} of {len(wanted)} are missing (found {few(indexes)}). Fetch them too.")
        if len(indexes) > len(wanted):  # the same shard twice, under two hashes
            singles += [[name] for _, name in found]
        else:
            singles.append([name for _, name in sorted(found)])
    return singles
