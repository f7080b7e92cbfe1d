"""The sample's four clustering tasks: tight clusters far apart, so that no rounding moves k-means.

The scores are imperfect because some texts carry the label of another cluster, and because the first set has more clusters than labels:
which of them k-means merges depends on its random start, not on rounding.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from sample_text import Tables, long_text, several, variants


@dataclass(frozen=True)
class Sets:
    """A task: a set per seed, of `labels` labels drawn from the fields.

    A set has `texts` per cluster (the first set `first`), `wrong` labels, and a text per entry of `long` that shows what it is about only
    beyond that character. `seeds` were chosen so that k-means finds the same clustering under every rounding, and another one with ten
    starts or, in the large set, with batches of 1,024 texts (tests/test_sample.py).
    """

    genre: str
    fields: tuple[str, ...]
    labels: int
    texts: int
    wrong: int
    seeds: tuple[int, ...]
    first: int = 0
    long: tuple[int, ...] = ()


SCIENCES = ("工学", "农业", "医学", "理学", "法学", "教育", "财经", "文学", "历史", "军事")
NEWS = ("科技", "股票", "体育", "娱乐", "国际", "民生", "教育", "财经", "家居", "游戏", "房产", "时尚", "彩票", "星座")
TASKS = {
    "CLSClusteringP2P": Sets("abstract", SCIENCES, labels=6, texts=6, wrong=4, seeds=(3, 0, 0)),
    "CLSClusteringS2S": Sets("paper", SCIENCES, labels=7, texts=8, wrong=9, seeds=(2, 0, 0)),
    "ThuNewsClusteringP2P": Sets("report", NEWS, labels=7, texts=7, wrong=5, seeds=(16, 0, 0), long=(515, 770)),
    "ThuNewsClusteringS2S": Sets("headline", NEWS, labels=8, texts=8, wrong=12, seeds=(422, 0, 2), first=70),
}


def make_sets(name: str, sets: Sets) -> Tables:
    """The table `test`: a row per set, its texts and their labels as lists."""
    return {"test": [make_set(f"{name} {number} {seed}", sets, first=number == 0) for number, seed in enumerate(sets.seeds)]}


def make_set(name: str, sets: Sets, *, first: bool) -> dict[str, list[str]]:
    """A set's texts (`sentences`) and their labels. The first set of a task has two clusters more than labels."""
    rng = random.Random(name)
    fields = rng.sample(sets.fields, sets.labels + (2 if first else 0))
    labels = fields[: sets.labels]
    labelled = [
        (text, labels[place % sets.labels])
        for place, field in enumerate(fields)
        for text in variants(rng, sets.genre, field, (first and sets.first) or sets.texts)
    ]
    for place in rng.sample(range(len(labelled)), sets.wrong):
        labelled[place] = (labelled[place][0], rng.choice(labels))
    for start in sets.long:
        seen, hidden = rng.sample(labels, 2)
        labelled.append((long_text(rng, several(rng, sets.genre, seen, 2), several(rng, sets.genre, hidden, 6), start), hidden))
    labelled.append(labelled[0])
    rng.shuffle(labelled)
    return {"sentences": [text for text, _ in labelled], "labels": [label for _, label in labelled]}


def clustering_tasks() -> dict[str, Tables]:
    """The four tasks by name."""
    return {name: make_sets(name, sets) for name, sets in TASKS.items()}
