"""What the headings of a table of averages mean: the words of English and Chinese cards for `Average` and for the types of task."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.read.cards.markdown import Table

_WORDS: Mapping[str, Sequence[str]] = {
    "Average": (
        *("average", "avg", "mean", "overall", "cmteb"),
        *("平均", "平均分", "平均值", "平均得分", "平均分数", "总平均", "总体平均", "均值", "均分", "总分", "综合"),
    ),
    "Classification": ("classification", "class", "cls", "clas", "分类", "文本分类"),
    "Clustering": ("clustering", "cluster", "clust", "clus", "clu", "聚类", "文本聚类"),
    "PairClassification": (
        *("pairclassification", "pairclass", "paircls", "pairclas", "pairclf", "pair", "pc"),
        *("句子对分类", "句对分类", "文本对分类", "配对分类", "成对分类", "对分类"),
    ),
    "Reranking": ("reranking", "rerank", "rank", "rrk", "重排", "重排序", "重新排序", "文本重排"),
    "Retrieval": ("retrieval", "retri", "retr", "ret", "检索", "召回", "文本检索", "信息检索"),
    "STS": ("sts", "semantictextualsimilarity", "语义相似度", "语义文本相似度", "文本相似度", "文本语义相似度", "句子相似度", "相似度"),
}
_KEYS = {word: key for key, words in _WORDS.items() for word in words}
_ELSEWHERE = (
    *("summarization", "summ", "bitextmining", "bitxtmining", "bitext", "multilabelclassification", "multiclass"),
    *("instructionretrieval", "instretri", "instretrieval"),
)
"""Types of task that stand in tables of other benchmarks."""

_NUMBER = re.compile(r"-?[0-9]{1,3}(\.[0-9]+)?")


@dataclass(frozen=True)
class Headings:
    """Where the averages of a benchmark stand in a table. `places`: column by `Average` or type. `counted`: all say how many tasks."""

    places: Mapping[str, int]
    counted: bool


def average_tables(tables: Sequence[Table], tasks: Sequence[TaskSpec]) -> list[tuple[Table, Headings | str]]:
    """The tables of averages over these tasks, each with what `average_columns` finds. A table with a column per model is turned."""
    found: list[tuple[Table, Headings | str]] = []
    for table in tables:
        columns = average_columns(table, tasks)
        turned = replace(each := table.turned(), head=("Model", *each.head[1:]))
        across = average_columns(turned, tasks) if columns is None else None
        if isinstance(across, Headings):
            found.append((turned, across))
        elif columns is not None:
            found.append((table, columns))
    return found


def average_columns(table: Table, tasks: Sequence[TaskSpec]) -> Headings | str | None:
    """The columns of the averages over these tasks; why they can't be read, where the table looks like averages; else None.

    A heading may say how many tasks it averages (`Average (35)`, `STS (8 datasets)`): another number is another benchmark's.
    """
    counts: dict[str, int] = {"Average": len(tasks), **{kind: sum(task.type == kind for task in tasks) for kind in TASK_TYPES}}
    places: dict[str, int] = {}
    found = [_meaning(title) for title in table.head]
    if sum(key == "Average" for key, _ in found) > 1:  # a benchmark's name is a column of averages where no other is
        found = [(None if _word(title) == "cmteb" else key, count) for title, (key, count) in zip(table.head, found, strict=True)]
    for index, (key, count) in enumerate(found):
        if key in _ELSEWHERE:
            return None
        if key is None or not counts[key]:
            continue
        if count not in (None, counts[key]):
            return None
        if key in places:
            return f"two columns for {key} ({table.head[places[key]]} and {table.head[index]})"
        places[key] = index
    missing = [key for key, count in counts.items() if count and key not in places]
    if not missing:
        return Headings(places, counted=all(found[place][1] is not None for place in places.values()))
    if len(places) < 3 and not ("Average" in places and _numeric_columns(table) > 3):
        return None
    unknown = [title for (key, _), title in zip(found, table.head, strict=True) if key is None]
    return f"no column for {', '.join(missing)} (not understood: {', '.join(unknown) or 'none'})"


def _meaning(title: str) -> tuple[str | None, int | None]:
    """`Average` or a type (one of `_ELSEWHERE`), and the number of tasks that the heading states."""
    word, numbers = _word(title), re.findall(r"[0-9]+", _plain(title))
    if word in _ELSEWHERE:
        return word, None
    return _KEYS.get(word) or _KEYS.get(word.removesuffix("avg").removeprefix("avg") or word), int(numbers[0]) if numbers else None


def _word(title: str) -> str:
    return re.sub(r"[\W\d_]+|datasets?|tasks?|个?(?:数据集|任务)|(?<=.)得分|(?<=.)任务", "", _plain(title))


def _plain(title: str) -> str:
    return re.sub(r"<[^>]*>|\[|\]\([^)]*\)|\]", " ", title).lower()


def _numeric_columns(table: Table) -> int:
    """How many columns hold scores in most rows."""
    columns = zip(*(row for row in table.rows if len(row) == len(table.head)), strict=True)
    return sum(2 * sum(bool(_NUMBER.fullmatch(without_marks(cell))) for cell in cells) > len(cells) for cells in columns)


def without_marks(cell: str) -> str:
    """A number's text without the signs that cards put behind it: percent, stars and daggers."""
    return cell.rstrip("%％*\\†‡ ")
