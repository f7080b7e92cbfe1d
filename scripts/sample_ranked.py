"""The sample's queries and passages: the eight retrieval tasks and the four of reranking.

A query is kept when no relevant passage lies within `GAP` of an irrelevant one (among the first of its ranking, under every view).
The rank of the relevant passages is planned: first for most queries, lower or too low for others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sample_measure import VIEWS, WHOLE, Measure, clear, cosines
from sample_text import HOSTILE, Tables, Words, compose, draw_words, lexicon, long_text, phrase, vary

DEPTH = 12
"""How far down a ranking margins are kept: ten places count for the main metric, and passages with the query's id are dropped."""
LONG_STARTS = (515, 770, 1026)
ROUNDS, BATCH = 400, 48


@dataclass(frozen=True)
class Plan:
    """A collection: `topics` subjects per field, each with a passage that answers it, a second one that answers most of it, and
    `siblings` that share some of its words.

    `places`: how many queries find their first relevant passage at rank 1, 2 to 3, 4 to 10, and beyond, each `times`. `long` subjects per
    start of `LONG_STARTS` appear only beyond that character. `twins` answers occur again under another id, judged irrelevant.
    `graded`: the full answer has grade 3, the other 1. `short`: every third subject has one more answer, which
    is shorter than any other passage: it is searched last.
    `numbered`: passages and queries share ids. `titled`: passages have titles.
    """

    fields: tuple[str, ...]
    query: str
    passage: str
    topics: int
    siblings: int
    places: tuple[int, int, int, int]
    times: int = 1
    long: int = 0
    twins: int = 2
    graded: bool = False
    short: bool = False
    numbered: bool = False
    titled: bool = False


@dataclass(frozen=True)
class Subject:
    """What queries can be about: its words, other words of the same field, and the grades of the passages that answer it."""

    words: Words
    others: Words
    grades: dict[int, int]
    long: bool = False


@dataclass
class Query:
    """A query, the grades of its relevant passages by their number in the corpus, and all passages, best first."""

    text: str
    grades: dict[int, int]
    ranking: list[int]


@dataclass
class Collection:
    """Passages in the order they were written, and queries about them."""

    passages: list[str] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)

    def add(self, text: str) -> int:
        """The number of the passage that was added."""
        self.passages.append(text)
        return len(self.passages) - 1


def collect(measure: Measure, name: str, plan: Plan, fillers: Sequence[str] = ()) -> Collection:
    """A collection after the plan, with `fillers` among its passages."""
    rng = random.Random(name)
    collection = Collection()
    topics = [topic for topic in plan.fields for _ in range(plan.topics)]
    rng.shuffle(topics)
    asked_before = [1] * plan.places[1] + [4] * plan.places[2]
    for place, topic in enumerate(topics):
        _add_subject(rng, collection, plan, topic, reposts=asked_before[place] if place < len(asked_before) else 0)
    for subject in rng.sample(collection.subjects, plan.twins):
        collection.add(collection.passages[min(subject.grades)])
    for start in LONG_STARTS:
        for _ in range(plan.long):
            _add_long_subject(rng, collection, plan, start)
    for text in (*HOSTILE[:5], "。", f"  {compose(rng, plan.passage, plan.fields[0])}\n", *fillers):
        collection.add(text)
    _ask(measure, rng, collection, plan)
    return collection


def _add_subject(rng: random.Random, collection: Collection, plan: Plan, topic: str, *, reposts: int) -> None:
    """Two passages that answer, siblings that don't, and `reposts` that only ask the same: nearer to a query than any answer."""
    words, others = draw_words(rng, topic), draw_words(rng, topic)
    full = collection.add(phrase(rng, plan.passage, words))
    most = collection.add(phrase(rng, plan.passage, vary(rng, words, plan.passage, 1, others)))
    collection.subjects.append(Subject(words, others, {full: 3, most: 1} if plan.graded else {full: 1, most: 1}))
    if plan.short and len(collection.subjects) % 3 == 0:
        collection.subjects[-1].grades[collection.add(phrase(rng, "ask", words))] = 1
    for _ in range(plan.siblings):
        collection.add(phrase(rng, plan.passage, vary(rng, words, plan.passage, 4, draw_words(rng, topic))))
    for _ in range(reposts):
        collection.add("。".join(phrase(rng, plan.query, words) for _ in range(2)))


def _add_long_subject(rng: random.Random, collection: Collection, plan: Plan, start: int) -> None:
    topic, opening = rng.sample(plan.fields, 2)
    words = draw_words(rng, topic)
    head = compose(rng, plan.passage, opening) + compose(rng, plan.passage, opening)
    tail = "".join(phrase(rng, plan.passage, words) for _ in range(6))
    answer = collection.add(long_text(rng, head, tail, start))
    collection.subjects.append(Subject(words, draw_words(rng, topic), {answer: 1}, long=True))


def _ask(measure: Measure, rng: random.Random, collection: Collection, plan: Plan) -> None:
    """Draws queries until every place of the plan is filled.

    Raises:
        ValueError: some places are not filled.
    """
    views = slice(0 if plan.long else WHOLE, None)  # without long passages, max_len makes no difference
    whole = WHOLE - len(VIEWS)
    passages = measure.vectors(collection.passages)[views]
    wanted = [*(plan.times * place for place in plan.places), plan.long * len(LONG_STARTS)]
    asked: set[int] = set()
    for _ in range(ROUNDS):
        drawn = [_draw_query(rng, collection, plan) for _ in range(BATCH)]
        scores = cosines(measure.vectors([text for text, _ in drawn])[views], passages)
        for (text, number), found in zip(drawn, scores.transpose(1, 0, 2), strict=True):
            grades, is_long = collection.subjects[number].grades, collection.subjects[number].long
            ranking = np.argsort(-found[whole], kind="stable").tolist()
            place = len(plan.places) if is_long else _place(1 + min(ranking.index(i) for i in grades))
            if not wanted[place] or (text, number) in asked or (is_long and number in {known for _, known in asked}):
                continue
            if clear(found, [grades.get(i, 0) for i in range(len(ranking))], collection.passages, depth=DEPTH):
                wanted[place] -= 1
                asked.add((text, number))
                collection.queries.append(Query(text, grades, ranking))
        if not any(wanted):
            return
    raise ValueError(f"no queries found for the places {wanted}")


def _draw_query(rng: random.Random, collection: Collection, plan: Plan) -> tuple[str, int]:
    """A question in the subject's words, except up to two. Every eighth is judged wrongly: it is about another subject."""
    number = rng.choice([i for i, subject in enumerate(collection.subjects) if subject.long or rng.random() < 0.5])
    subject = collection.subjects[number]
    if not subject.long and rng.random() < 0.125:
        return compose(rng, plan.query, rng.choice(plan.fields)), number
    return phrase(rng, plan.query, vary(rng, subject.words, plan.query, rng.randrange(3), subject.others)), number


def _place(rank: int) -> int:
    return sum(rank > last for last in (1, 3, 10))


def retrieval_tables(name: str, collection: Collection, *, numbered: bool, titled: bool) -> Tables:
    """`corpus`, `queries` and `qrels` in a drawn order. A title is what comes before the last space of a passage."""
    rng = random.Random(f"{name}, ids")
    order = rng.sample(range(len(collection.passages)), len(collection.passages))
    ids = _shared_ids(collection, order) if numbered else {number: f"{name.lower()}-{place}" for place, number in enumerate(order)}
    qids = [str(i) if numbered else f"q{i}" for i in range(len(collection.queries))]
    texts = [collection.passages[number] for number in order]
    parts = [dict(zip(("title", "text"), text.rpartition(" ")[::2], strict=True)) if titled else {"text": text} for text in texts]
    return {
        "corpus": [{"id": ids[number]} | part for number, part in zip(order, parts, strict=True)],
        "queries": [{"id": qid, "text": query.text} for qid, query in zip(qids, collection.queries, strict=True)],
        "qrels": [
            {"qid": qid, "pid": ids[number], "score": grade}
            for qid, query in zip(qids, collection.queries, strict=True)
            for number, grade in query.grades.items()
        ],
    }


def _shared_ids(collection: Collection, order: Sequence[int]) -> dict[int, str]:
    """Ids that queries have too: a passage of the query's own id is dropped from its ranking, here one that would have stood high."""
    ids: dict[int, str] = {}
    for i, query in enumerate(collection.queries):
        ids[next(number for number in query.ranking if number not in query.grades and number not in ids)] = str(i)
    free = iter(range(len(collection.queries), len(order)))
    return {number: ids[number] if number in ids else str(next(free)) for number in order}


def rerank(measure: Measure, name: str, split: str, collection: Collection, *, queries: int, negatives: int) -> Tables:
    """Samples from a collection: the relevant passages of a query against some of the best and some of the worst others."""
    rng = random.Random(name)
    rows = []
    for query in collection.queries:
        answers = {collection.passages[number] for number in query.grades}
        others = [number for number in query.ranking if collection.passages[number] not in answers]
        drawn = rng.sample(others[:6], 3) + rng.sample(others[6:], negatives - 3)
        candidates = [
            *query.grades,
            *drawn,
            drawn[0],
        ]  # an irrelevant one twice; a relevant one would tie only if the matrix product rounds both alike
        texts = [collection.passages[number] for number in candidates]
        scores = measure.cosines([query.text], texts)[:, 0]
        if len(rows) < queries and clear(scores, [int(number in query.grades) for number in candidates], texts):
            split_at = len(query.grades)
            negative = texts[split_at:]
            rows.append({"query": query.text, "positive": texts[:split_at], "negative": negative})
    if len(rows) < queries:
        raise ValueError(f"{name}: {len(rows)} samples with margins, {queries} wanted")
    return {split: rows}


PLANS = {
    "T2Retrieval": Plan(
        ("历史", "科技", "法学", "汽车", "健身", "音乐", "农业", "教育"), "question", "passage", 3, 1, (10, 5, 3, 2), long=2, graded=True
    ),
    "MMarcoRetrieval": Plan(("理学", "旅游", "宠物", "财经", "文学", "工学", "天气", "育儿", "法学"), "ask", "answer", 3, 1, (10, 4, 4, 2)),
    "DuRetrieval": Plan(
        ("家居", "英语", "招聘", "游戏", "地图", "购物", "拍照", "星座"), "question", "answer", 9, 1, (19, 0, 0, 8), times=10, short=True
    ),
    "CovidRetrieval": Plan(("疫情", "感冒", "医学", "民生", "国际", "教育", "旅游"), "question", "report", 3, 1, (10, 3, 2, 1), long=1),
    "CmedqaRetrieval": Plan(("肠胃", "心脏", "皮肤", "眼科", "骨科", "牙科", "感冒", "孕产"), "question", "answer", 3, 1, (8, 5, 4, 3)),
    "EcomRetrieval": Plan(
        ("手机", "服装", "家电", "食品", "时尚", "家居", "图书", "宠物"), "item", "goods", 3, 1, (8, 4, 4, 2), numbered=True, titled=True
    ),
    "MedicalRetrieval": Plan(("孕产", "感冒", "骨科", "牙科", "眼科", "皮肤", "医学", "心脏"), "question", "answer", 3, 1, (10, 3, 3, 2)),
    "VideoRetrieval": Plan(
        ("娱乐", "音乐", "烹饪", "游戏", "体育", "育儿", "宠物", "健身"), "item", "clip", 3, 1, (10, 4, 2, 2), numbered=True
    ),
    "CMedQAv1": Plan(("孕产", "皮肤", "肠胃", "心脏", "感冒", "骨科", "牙科"), "question", "answer", 3, 1, (9, 4, 3, 1)),
}
FILLERS = {"DuRetrieval": 1900, "CovidRetrieval": 140, "CmedqaRetrieval": 140}


def ranked_tasks(measure: Measure, headlines: Sequence[str]) -> dict[str, Tables]:
    """The retrieval and reranking tasks, by name; three corpora share their fillers (`headlines` and more of them), three rerankings draw
    on a retrieval's passages."""
    rng = random.Random("fillers")
    topics = [topic for topic in lexicon().fields if topic not in PLANS["DuRetrieval"].fields]
    shared = [*headlines, *(compose(rng, "headline", topic) for topic in rng.choices(topics, k=max(FILLERS.values()) - len(headlines)))]
    collections = {name: collect(measure, name, plan, shared[: FILLERS.get(name, 0)]) for name, plan in PLANS.items()}
    tasks = {
        name: retrieval_tables(name, collections[name], numbered=plan.numbered, titled=plan.titled)
        for name, plan in PLANS.items()
        if name != "CMedQAv1"
    }
    return tasks | {
        "CMedQAv1": rerank(measure, "CMedQAv1", "test", collections["CMedQAv1"], queries=10, negatives=8),
        "CMedQAv2": rerank(measure, "CMedQAv2", "test", collections["CmedqaRetrieval"], queries=10, negatives=8),
        "MMarcoReranking": rerank(measure, "MMarcoReranking", "dev", collections["MMarcoRetrieval"], queries=10, negatives=12),
        "T2Reranking": rerank(measure, "T2Reranking", "dev", collections["T2Retrieval"], queries=14, negatives=7),
    }
