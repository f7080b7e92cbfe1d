"""The sample's sentence pairs: the eight STS tasks and the two of pair classification."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sample_measure import GAP, WHOLE, Array, Measure
from sample_text import Rows, Tables, Words, compose, draw_words, long_text, phrase, spoil, vary

CREDIT = ("借款", "还款", "转账")


@dataclass(frozen=True)
class Band:
    """Pairs whose cosine lies in [`low`, `high`] under every view, and the one gold score they all have.

    Bands lie at least `GAP` apart, so pairs of unequal gold never swap ranks, and swaps within a band change neither Spearman's rho nor
    average precision. A band whose gold does not fit its cosine is a planted error: the score is imperfect, but stable.
    """

    low: float
    high: float
    gold: float
    pairs: int


Pair = tuple[str, str]
Levels = Sequence[tuple[float, float, float, int]]
"""Bands as (low, high, gold, pairs)."""


def graded(levels: Levels) -> list[Band]:
    """The bands, checked to lie apart.

    Raises:
        ValueError: two bands are nearer than `GAP`.
    """
    bands = [Band(*level) for level in levels]
    if any(upper.low - lower.high < GAP for lower, upper in itertools.pairwise(bands)):
        raise ValueError(f"bands less than {GAP} apart: {levels}")
    return bands


def fill(measure: Measure, levels: Levels, propose: Callable[[], Pair], *, batch: int = 48) -> list[tuple[Pair, float]]:
    """Proposed pairs with the gold of the band they fall into, until every band has its number.

    Raises:
        ValueError: a band is not filled.
    """
    bands = graded(levels)
    wanted = [band.pairs for band in bands]
    kept: list[tuple[Pair, float]] = []
    for _ in range(60):
        proposals = [propose() for _ in range(batch)]
        measure.vectors([text for pair in proposals for text in pair])
        for pair in proposals:
            number = _band(bands, measure.cosine(*pair))
            if number is not None and wanted[number] > 0 and pair not in (known for known, _ in kept):
                wanted[number] -= 1
                kept.append((pair, bands[number].gold))
        if not any(wanted):
            return kept
    raise ValueError(f"no pairs found for {[(band, left) for band, left in zip(bands, wanted, strict=True) if left]}")


def _band(bands: Sequence[Band], cosines: Array) -> int | None:
    """The band whose gold a pair may have: the one it falls into, or one of equal gold where max_len moves it from band to band."""
    found = [next((i for i, band in enumerate(bands) if band.low <= cosine <= band.high), None) for cosine in cosines]
    golds = {None if i is None else bands[i].gold for i in found}
    return None if None in golds or len(golds) > 1 else found[WHOLE]


def _proposer(rng: random.Random, genre: str, fields: Sequence[str], second_genre: str | None = None) -> Callable[[], Pair]:
    """Pairs of all degrees: from the same words in another frame to another field's words."""

    def propose() -> Pair:
        field, other = rng.choice(fields), rng.choice(fields)
        words = draw_words(rng, field)
        source = draw_words(rng, field if rng.random() < 0.4 else other)
        return phrase(rng, genre, words), phrase(rng, second_genre or genre, vary(rng, words, genre, rng.randrange(8), source))

    return propose


def _sts(name: str, split: str, genre: str, fields: Sequence[str], levels: Levels) -> Callable[[Measure], Tables]:
    def build(measure: Measure) -> Tables:
        rng = random.Random(name)
        rows = _rows(fill(measure, levels, _proposer(rng, genre, fields)))
        rows += [dict(row) for row in rng.sample(rows, 2)]  # duplicate pairs: exact ties
        rng.shuffle(rows)
        return {split: rows}

    return build


def _rows(pairs: Sequence[tuple[Pair, float]]) -> Rows:
    return [{"sentence1": first, "sentence2": second, "score": gold} for (first, second), gold in pairs]


def _bq(measure: Measure) -> Tables:
    """Few sentences in many pairs, as in the real set: pairs among the sentences already there count as proposals too."""
    rng = random.Random("BQ")
    known: list[str] = []
    fresh = _proposer(rng, "question", CREDIT)

    def propose() -> Pair:
        if len(known) > 40 and rng.random() < 0.5:
            first, second = rng.sample(known, 2)
            return first, second
        pair = fresh()
        known.extend(pair)
        return pair

    levels = [(-0.3, 0.2, 0, 12), (0.23, 0.3, 1, 6), (0.33, 0.5, 0, 14), (0.53, 0.62, 1, 6), (0.65, 0.75, 0, 6), (0.8, 1.0, 1, 20)]
    rows = _rows(fill(measure, levels, propose))
    rng.shuffle(rows)
    return {"test": rows}


def _lcqmc(measure: Measure) -> Tables:
    """Adds a pair that is judged twice with different golds, alone in its band: an exact tie with unequal golds."""
    rng = random.Random("LCQMC")
    fields = ("打车", "购物", "音乐", "英语", "育儿", "天气", "宠物", "烹饪", "手机", "感冒")
    levels = [(-0.3, 0.25, 0, 18), (0.3, 0.38, 1, 4), (0.42, 0.6, 0, 10), (0.64, 0.8, 1, 12), (0.83, 0.86, 0, 1), (0.89, 1.0, 1, 15)]
    pairs = fill(measure, levels, _proposer(rng, "question", fields))
    pairs += [(pair, 1 - gold) for pair, gold in pairs if 0.82 < measure.cosine(*pair)[0] < 0.87]
    rng.shuffle(pairs)
    return {"test": _rows(pairs)}


def _qbqtc(measure: Measure) -> Tables:
    """Search phrases against page titles; some queries are not text."""
    rng = random.Random("QBQTC")
    propose = _proposer(rng, "question", ("手机", "汽车", "旅游", "教育", "健身", "家居", "酒店"), "headline")
    levels = [
        (-0.3, 0.2, 0, 16),
        (0.24, 0.3, 2, 4),
        (0.34, 0.5, 1, 14),
        (0.54, 0.6, 0, 5),
        (0.64, 0.74, 2, 8),
        (0.78, 0.82, 1, 4),
        (0.86, 1.0, 2, 12),
    ]
    rows = _rows(fill(measure, levels, propose))

    def propose_hostile() -> Pair:
        first, second = propose()
        return first, spoil(rng, second)

    rows += _rows(fill(measure, [(low, high, gold, 1) for low, high, gold, _ in levels], propose_hostile))
    rng.shuffle(rows)
    return {"test": rows}


def _sts22(measure: Measure) -> Tables:
    """News pairs; some are longer than 512, 768 and 1024 tokens, and only the part beyond shows how similar they are. One text is empty."""
    rng = random.Random("STS22")
    fields = ("体育", "财经", "国际", "科技", "民生", "军事", "旅游")
    levels = [
        (-0.3, 0.1, 1.0, 12),
        (0.13, 0.2, 3.0, 3),
        (0.23, 0.4, 1.67, 8),
        (0.43, 0.67, 4.0, 3),
        (0.7, 0.76, 2.67, 5),
        (0.79, 0.87, 3.33, 7),
        (0.9, 1.0, 4.0, 8),
    ]
    rows = _rows(fill(measure, levels, _proposer(rng, "report", fields)))
    for start, parts in ((515, 6), (770, 6), (515, 18)):
        rows += _rows(fill(measure, _only(levels, 6, 2), _long_proposer(rng, fields, start, parts), batch=8))
    rows += _rows(fill(measure, _only(levels, 2, 1), lambda: ("", compose(rng, "report", rng.choice(fields)))))
    rng.shuffle(rows)
    return {"test": rows}


def _only(levels: Levels, place: int, pairs: int) -> Levels:
    """The same bands, with pairs wanted in one of them."""
    return [(low, high, gold, pairs if i == place else 0) for i, (low, high, gold, _) in enumerate(levels)]


def _long_proposer(rng: random.Random, fields: Sequence[str], start: int, parts: int) -> Callable[[], Pair]:
    """Pairs that open differently and have the same content from the character `start` on."""

    def tell(reports: Sequence[Words]) -> str:
        return "".join(phrase(rng, "report", report) for report in reports)

    def propose() -> Pair:
        one, two = rng.sample(fields, 2)
        story = [draw_words(rng, one) for _ in range(parts)]
        openings = [[draw_words(rng, field) for _ in range(2)] for field in (one, two)]
        first, second = (long_text(rng, tell(opening), tell(story), start) for opening in openings)
        return first, second

    return propose


def _pair_classification(name: str, genre: str, fields: Sequence[str], levels: Levels) -> Callable[[Measure], Tables]:
    """One row that holds all pairs, as the hub has it; two pairs occur twice.

    They tie exactly and are not paraphrases: average precision depends on the position of a tie of two paraphrases.
    """

    def build(measure: Measure) -> Tables:
        rng = random.Random(name)
        pairs = fill(measure, levels, _proposer(rng, genre, fields))
        pairs += rng.sample([pair for pair in pairs if pair[1] == 0], 2)
        rng.shuffle(pairs)
        return {
            "validation": [
                {"sent1": [a for (a, _), _ in pairs], "sent2": [b for (_, b), _ in pairs], "labels": [int(gold) for _, gold in pairs]}
            ]
        }

    return build


_STATEMENTS = ("体育", "教育", "科技", "旅游", "农业", "民生", "家居", "法学", "音乐", "天气", "宠物", "烹饪", "疫情", "图书")

_TASKS: dict[str, Callable[[Measure], Tables]] = {
    "AFQMC": _sts(
        "AFQMC",
        "validation",
        "question",
        CREDIT,
        [(-0.3, 0.3, 0, 18), (0.33, 0.4, 1, 3), (0.44, 0.6, 0, 14), (0.63, 0.68, 1, 6), (0.72, 0.82, 0, 4), (0.86, 1.0, 1, 15)],
    ),
    "ATEC": _sts(
        "ATEC",
        "test",
        "question",
        CREDIT,
        [(-0.3, 0.1, 0, 12), (0.14, 0.3, 1, 3), (0.35, 0.7, 0, 22), (0.75, 0.8, 1, 8), (0.84, 0.9, 0, 3), (0.94, 1.0, 1, 12)],
    ),
    "BQ": _bq,
    "LCQMC": _lcqmc,
    "PAWSX": _sts(
        "PAWSX",
        "test",
        "fact",
        ("历史", "文学", "体育", "科技", "军事", "理学"),
        [(0.0, 0.5, 0, 10), (0.54, 0.62, 1, 5), (0.66, 0.74, 0, 14), (0.77, 0.82, 1, 8), (0.85, 0.9, 0, 5), (0.93, 1.0, 1, 16)],
    ),
    "QBQTC": _qbqtc,
    "STS22": _sts22,
    "STSB": _sts(
        "STSB",
        "test",
        "statement",
        ("体育", "旅游", "宠物", "烹饪", "音乐", "育儿", "汽车", "天气"),
        [
            (-0.3, 0.08, 0, 10),
            (0.11, 0.17, 3, 3),
            (0.2, 0.32, 1, 9),
            (0.35, 0.41, 4, 3),
            (0.44, 0.56, 2, 9),
            (0.59, 0.64, 0, 3),
            (0.67, 0.77, 3, 9),
            (0.8, 0.84, 1, 3),
            (0.87, 0.92, 4, 8),
            (0.95, 1.0, 5, 9),
        ],
    ),
    "Cmnli": _pair_classification(
        "Cmnli",
        "report",
        _STATEMENTS,
        [(-0.3, 0.3, 0, 20), (0.34, 0.5, 1, 8), (0.54, 0.7, 0, 16), (0.74, 0.8, 1, 10), (0.84, 0.9, 0, 4), (0.93, 1.0, 1, 20)],
    ),
    "Ocnli": _pair_classification(
        "Ocnli",
        "statement",
        _STATEMENTS,
        [(-0.3, 0.2, 0, 14), (0.24, 0.34, 1, 8), (0.38, 0.6, 0, 18), (0.64, 0.76, 1, 14), (0.8, 0.86, 0, 8), (0.9, 1.0, 1, 16)],
    ),
}


def pair_tasks(measure: Measure) -> dict[str, Tables]:
    """The STS and pair classification tasks, by name."""
    return {name: build(measure) for name, build in _TASKS.items()}
