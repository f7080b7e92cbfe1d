"""Checks of what a card says in words and in its script, against its numbers.

Sentences are found by words of Chinese and English cards, not by one card's phrases; a sentence that no pattern finds is not judged.
A finding quotes the card, so that a reader can see what was understood.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from harness.core.benchmarks import Benchmark
from harness.core.dtypes import DTYPES, card_dtype, dtype_named
from harness.core.formatting import bare_name
from harness.core.tasks import TYPES
from harness.read.cards.headings import average_columns
from harness.read.cards.markdown import Document, Table
from harness.read.cards.page import column, score_titles
from harness.read.cards.script import Script, evaluation_scripts
from harness.read.claims.averages import Averages, RowMatch, listed
from harness.read.claims.findings import Check, Finding, check, judged
from harness.read.claims.sheet import Sheet

_NUMBERS = {
    **dict(zip("一二三四五六七八九十", range(1, 11), strict=True)),
    "两": 2,
    **dict(zip(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), range(1, 11), strict=True)),
}
_COUNT = rf"(\d{{1,3}}|{'|'.join(_NUMBERS)})"
_TESTS = (
    re.compile(rf"(?:测试|评测|测评|实验|运行|跑)了?\s*{_COUNT}\s*(?:次|轮|遍)"),
    re.compile(rf"{_COUNT}\s*(?:次|轮|遍|组)(?:不同的)?(?:测试|评测|测评|实验|运行)"),
    re.compile(rf"\b{_COUNT}\s+(?:\w+\s+)?(?:tests|runs|trials|experiments|evaluations)\b", re.IGNORECASE),
    re.compile(rf"\b(?:test|evaluat|measur|ran|run)\w*\b[^.]{{0,40}}?\b{_COUNT}\s+times\b", re.IGNORECASE),
)
_CHOICE = re.compile(r"选取|选择|选用|采用|取了|\b(?:report|select|chose|choose|pick|took|take|publish)", re.IGNORECASE)
_LOWEST = re.compile(r"最低|最差|最小|\b(?:lowest|worst|minimum|smallest)\b", re.IGNORECASE)
_HIGHEST = re.compile(r"最高|最好|最佳|最优|最大|\b(?:highest|best|maximum|largest)\b", re.IGNORECASE)
_SCORE = re.compile(r"精度|分数|得分|成绩|结果|\b(?:accuracy|accuracies|scores?|results?|precision|averages?)\b", re.IGNORECASE)
_PRECISION = re.compile(r"精度|\bprecision\b", re.IGNORECASE)
_BEST_LENGTH = re.compile(
    r"(?:sequence length|max_?(?:seq_?)?len(?:gth)?|序列长度|长度)\D{0,12}?(\d{2,5})\D{0,12}?(?:最佳|最好|最优|best)", re.IGNORECASE
)
_RANDOM = re.compile(r"随机|\brandom", re.IGNORECASE)
_DIFFER = re.compile(r"不一致|不同|差异|波动|不稳定|\b(?:differ|vary|varies|variation|fluctuat|inconsistent|unstable)", re.IGNORECASE)

# Names of options and attributes that set what a column of the table says.
_MEANS = {
    "max_len": ("max_len", "max_length", "max_seq_length", "max_seq_len", "sequence_length", "seq_len", "seq_length"),
    "dim": ("dim", "dimension", "embedding_dim", "matryoshka_dim", "mrl_dim", "truncate_dim"),
    "dtype": ("dtype", "torch_dtype", "tensor_type", "precision"),
}
_QUOTE_WIDTH = 80
_TITLES = {"max_len": "Sequence Length", "dim": "Dimension", "dtype": "tensor-type"}


@dataclass(frozen=True)
class _Card:
    document: Document
    found: Averages
    average: str
    scripts: tuple[Script, ...]
    score_tables: tuple[Table, ...]

    @property
    def matches(self) -> tuple[RowMatch, ...]:
        return self.found.matches

    def averages(self) -> list[float]:
        return [match.row.scores[self.average] for match in self.matches]


def statement_checks(sheet: Sheet, found: Averages, benchmark: Benchmark) -> list[Check]:
    """All checks of words and code; none for a folder of results, which has none."""
    if sheet.document is None:
        return []
    scripts, refused = evaluation_scripts(sheet.document.blocks)
    with_scores = tuple(table for table in sheet.document.tables if average_columns(table, benchmark.tasks))
    card = _Card(sheet.document, found, score_titles(benchmark.tasks)["Average"], scripts, with_scores)
    unread = [Finding("can't tell", "script", text) for text in refused]
    return [
        check("tests", "as many rows are printed as the text says were tested", _number_of_tests(card)),
        check("choice", "the front matter is the test that the text says was taken", _chosen_test(card)),
        check("length", "the length that the text calls best has the best row", _best_length(card)),
        check("randomness", "scores do not depend on random draws", _randomness(card)),
        check("settings", "script and tables have the settings of the front matter's row", _settings(card, sheet.model)),
        check("options", "the script reads every option that it takes", [*unread, *_options(card)]),
        check("dtypes", "the script can make the dtype of every row", [*unread, *_dtypes(card)]),
    ]


def _number_of_tests(card: _Card) -> Iterator[Finding]:
    for line, text in card.document.clauses():
        match = next((match for pattern in _TESTS if (match := pattern.search(text))), None)
        if match is not None and card.matches:
            count = int(match[1]) if match[1].isdigit() else _NUMBERS[match[1].lower()]
            groups = "".join(f"; {group}" for group in _groups_of(card, count))
            found = f"{_quote(text)}: {count} tests, the table has {len(card.matches)} rows{groups}"
            yield judged(count == len(card.matches), f"line {line}", found)


def _groups_of(card: _Card, count: int) -> Iterator[str]:
    """Groups of exactly so many rows that share a setting: they may be the tests that are meant."""
    for field, title in _TITLES.items():
        values = {getattr(match.row.header, field) for match in card.matches}
        for value in sorted(values - {None, ""}, key=str):
            alike = [match for match in card.matches if getattr(match.row.header, field) == value]
            if len(alike) == count:
                yield f"{count} have {title} {value} ({listed(alike)}) and may be those"


def _chosen_test(card: _Card) -> Iterator[Finding]:
    front = card.found.front
    for line, text in card.document.clauses():
        low = bool(_LOWEST.search(text))
        if not (_CHOICE.search(text) and _SCORE.search(text) and (low or _HIGHEST.search(text))) or len(card.matches) < 2:
            continue
        if front is None:
            yield Finding("can't tell", f"line {line}", f"{_quote(text)}: no row is known to be the front matter")
        else:
            wanted = (min if low else max)(card.averages())
            fine = front.row.scores[card.average] == wanted
            yield judged(fine, f"line {line}", f"{_quote(text)}: {_choice(card, text, front, low=low)}")


def _choice(card: _Card, text: str, front: RowMatch, *, low: bool) -> str:
    values, own_average = card.averages(), front.row.scores[card.average]
    place = "the highest" if own_average == max(values) else "the lowest" if own_average == min(values) else "neither end"
    found = f"{front.label} is the front matter, {place} of {len(values)} ({own_average}; {min(values)} to {max(values)})"
    names = {match.row.header.dtype: dtype_named(match.row.header.dtype) for match in card.matches}
    bits = {text: name and DTYPES[name].bits for text, name in names.items()}
    own = bits.get(front.row.header.dtype)
    if not _PRECISION.search(text) or own is None or None in bits.values() or len(bits) < 2:
        return found
    end = (min if low else max)(each for each in bits.values() if each is not None)
    which = ", ".join(sorted(name for name, each in bits.items() if each == end))
    misfit = f"which does not fit either: {which} has {end} significant bits, {front.row.header.dtype} {own}"
    return f"{found}. Read as the precision of numbers, {'which would fit' if own == end else misfit}"


def _best_length(card: _Card) -> Iterator[Finding]:
    rows = [each for each in card.matches if each.row.header.max_len is not None]
    for line, text in card.document.clauses():
        match = _BEST_LENGTH.search(text)
        if match is not None and len(rows) > 1:
            best = max(rows, key=lambda each: each.row.scores[card.average])
            found = f"{_quote(text)}: the highest average is that of {best.label}, {best.row.scores[card.average]}"
            yield judged(best.row.header.max_len == int(match[1]), f"line {line}", found)


def _randomness(card: _Card) -> Iterator[Finding]:
    for line, text in card.document.sentences():
        if _RANDOM.search(text) and _DIFFER.search(text):
            found = (
                f"{_quote(text)}: mteb 1.1.x seeds every draw again for each task, so equal vectors give equal scores; "
                "what differs between runs is the vectors (docs/claims.md)"
            )
            yield Finding("contradicts", f"line {line}", f"{found}{_undrawn_spread(card)}")


def _undrawn_spread(card: _Card) -> str:
    """The largest difference between rows that differ in their GPU alone, in a type that draws no random number at all."""
    drawn = ("Average", *(name for name, facts in TYPES.items() if facts.random))
    found = [
        (second.row.scores[title] - score, f"rows {first.number} and {second.number} differ by", title)
        for first, second in itertools.combinations(card.matches, 2)
        if all(getattr(first.row.header, name) == getattr(second.row.header, name) for name in ("dtype", "dim", "max_len"))
        for title, score in first.row.scores.items()
        if not title.startswith(drawn)
    ]
    points, rows, title = max(found, key=lambda each: abs(each[0]), default=(0.0, "", ""))
    return f". The card shows it: {rows} {points:+.2f} in {title}, where nothing is drawn" if points else ""


def _settings(card: _Card, model: str) -> Iterator[Finding]:
    """Defaults and constants of the script, and what other tables say of the model, against the row that the front matter is."""
    front = card.found.front
    for field, name, value, where in (*_script_values(card.scripts), *_table_values(card, model)):
        values = value if isinstance(value, tuple) else (value,)
        rows = [front] if front else list(card.matches)
        own = {value for match in rows if (value := getattr(match.row.header, field)) not in (None, "")}
        if own:
            listing = ", ".join(str(each) for each in sorted(own, key=str))
            which = f"the front matter is {front.label}: {listing}" if front else f"the printed rows have {listing}"
            fine = bool(own & {card_dtype(str(each)) if field == "dtype" else each for each in values})
            yield judged(fine, where, f"{name} is {', '.join(map(str, values))}, {which}")


def _script_values(scripts: tuple[Script, ...]) -> Iterator[tuple[str, str, object, str]]:
    for script in scripts:
        for field, names in _MEANS.items():
            for option in script.options:
                if option.name in names and option.default is not None:
                    yield field, f"the default of {option.flag}", option.default, f"line {option.line}"
            for attribute, value, line in script.settings:
                if attribute in names:
                    yield field, attribute, value, f"line {line}"


def _table_values(card: _Card, model: str) -> Iterator[tuple[str, str, object, str]]:
    """What tables without scores say of this model. A cell may list several values: `[1024, 1792]`."""
    for table in card.document.tables:
        name = column(table, "model")
        if name is None or table in card.score_tables:
            continue
        for line, cells in zip(table.lines, table.rows, strict=True):
            if len(cells) != len(table.head) or bare_name(cells[name]) != bare_name(model):
                continue
            for field in ("max_len", "dim"):
                place = column(table, field)
                numbers = tuple(int(each) for each in re.findall(r"\d+", cells[place])) if place is not None else ()
                if numbers:
                    yield field, f"{_TITLES[field]} of the model", numbers, f"line {line}"


def _options(card: _Card) -> Iterator[Finding]:
    for script in card.scripts:
        if script.unread is None:
            yield Finding("can't tell", f"line {script.line}", "the script hands its arguments on as a whole")
            continue
        for option in script.options:
            default = "" if option.default is None else f" (default {option.default!r})"
            text = f"the script takes {option.flag}{default} and never reads it: it changes nothing"
            yield judged(option not in script.unread, f"line {option.line}", text)


def _dtypes(card: _Card) -> Iterator[Finding]:
    named = [match for match in card.matches if dtype_named(match.row.header.dtype)]
    for script in card.scripts:
        where = f"line {script.line}"
        if not script.dtypes:
            text = "the dtype depends on what is not in the script" if script.dtypes is None else "the script names no dtype"
            yield Finding("can't tell", where, text)
            continue
        other = [match for match in named if match.row.header.dtype not in script.dtypes]
        yield from [Finding("holds", where, "")] * (len(named) - len(other))
        for dtype in dict.fromkeys(match.row.header.dtype for match in other):
            alike = [match for match in other if match.row.header.dtype == dtype]
            rows = f"{listed(alike)} of the table {'is' if len(alike) == 1 else 'are'} {dtype}"
            text = f"the script as printed makes {' and '.join(sorted(script.dtypes))} only; {rows}"
            yield Finding("contradicts", where, text, about=len(alike))


def _quote(text: str) -> str:
    """The words of the card, cut where they would fill more than a line."""
    shown = text
    while cell_len(shown) > _QUOTE_WIDTH:
        shown = shown[:-1]
    return f'"{shown}{"" if shown == text else ".."}"'
