"""The sample's nine classification tasks.

Every evaluated text lies deep inside a class, whichever training texts are drawn. The errors that make the scores imperfect are as stable:
labels that are clearly wrong, and a `Dispute`, one kind of text with two labels in the training pool, where the draw decides the majority.
Some texts are `torn` between two classes: a classifier that stops early gives them to another class than one that goes on to the end.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sample_grid import Array, above
from sample_measure import VIEWS, WHOLE, Measure
from sample_text import HOSTILE, Rows, Tables, compose, draw_words, long_text, phrase, several, spoil, variants, vary
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

FIRM = 0.15
"""How far the winning class of an evaluated text leads in the decision function; bfloat16 moves it by less than 0.1."""
TORN = 0.06
"""How far the winning class of a torn text leads, with all iterations and, for another class, with `EARLY` ones."""
ITERATIONS, EARLY = 100, 10
SLACK = 1e-7
"""How far two processors' decision functions lie apart at most."""
SHUFFLES = 400

Label = int | str
Labelled = tuple[str, Label]
Points = dict[int, dict[str, Array]]
"""View -> text -> coordinates."""
Composer = Callable[[random.Random, Label], str]


@dataclass(frozen=True)
class Dispute:
    """Texts about one thing, `each` labelled `first` and `each` labelled `second` in the pool; `evaluated` more carry `first`."""

    field: str
    genre: str
    first: Label
    second: Label
    each: int
    evaluated: int


@dataclass(frozen=True)
class Classes:
    """A classification task: training texts of each label, evaluated texts, how many of those carry a wrong label.

    `long` maps the character from which on a text shows what it is about to how many such texts are evaluated, about the `fields`.
    `torn`: how many texts between two of the `fields` are evaluated.
    `further`: other evaluated splits and their rows (MTEB(cmn, v1) has one).
    `merged` gives the labels of a second task over the same texts. `experiments` and `per_label` are what mteb draws.
    """

    pool: Mapping[Label, int]
    evaluated: int
    wrong: int
    compose: Composer
    dispute: Dispute | None = None
    experiments: int = 10
    per_label: int = 32
    long: Mapping[int, int] = field(default_factory=dict)
    fields: Sequence[str] = ()
    torn: int = 0
    further: Mapping[str, int] = field(default_factory=dict)
    merged: Mapping[Label, Label] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """A text to evaluate, its label, and the class that must win by a wide margin (None: any class); `start` as in `long_text`."""

    text: str
    label: Label
    winner: Label | None
    start: int = 0


def classify(measure: Measure, name: str, split: str, classes: Classes) -> Tables:
    """The tables `train` and `split`, columns text and label.

    Raises:
        ValueError: too few texts are firm, or no order of the training pool decides the dispute in every draw.
    """
    rng = random.Random(name)
    labels = list(classes.pool)
    train = [(classes.compose(rng, label), label) for label, number in classes.pool.items() for _ in range(number)]
    train += [*rng.sample(train, 2), (HOSTILE[0], labels[0]), ("。", labels[0])]
    sides, disputed = _dispute(rng, classes)
    train += sides
    plain = [_propose(rng, classes, labels[i % len(labels)], spoiled=i % 17 == 5) for i in range(2 * classes.evaluated)]
    long = [_propose_long(rng, classes, start) for start, number in classes.long.items() for _ in range(4 * number)]
    torn = [_propose_torn(rng, classes) for _ in range(1800 * classes.torn)]
    points = _coordinates(measure, classes, [text for text, _ in train] + [proposal.text for proposal in disputed + plain + long + torn])
    wanted = classes.dispute.evaluated if classes.dispute else 0
    for _ in range(SHUFFLES):
        rng.shuffle(train)
        if _decided(classes, train, dict(sides)) and sum(_firm(points, classes, train, disputed)) >= wanted:
            break
    else:
        raise ValueError(f"{name}: no order of the training pool decides every draw")
    rows = [(proposal.text, proposal.label) for proposal in _pick(points, classes, train, plain, classes.evaluated)]
    for place in rng.sample(range(len(rows)), classes.wrong):
        rows[place] = (rows[place][0], rng.choice([label for label in labels if label != rows[place][1]]))
    rows += [(proposal.text, proposal.label) for proposal in _pick(points, classes, train, disputed, wanted)] + [rows[0]]
    for start, number in classes.long.items():
        starting = [proposal for proposal in long if proposal.start == start]
        rows += [(proposal.text, proposal.label) for proposal in _pick(points, classes, train, starting, number)]
    rows += _torn(points, classes, train, torn)
    rng.shuffle(rows)
    further = {other: _further(measure, rng, classes, train, number) for other, number in classes.further.items()}
    return {"train": _rows(train), split: _rows(rows), **further}


def _further(measure: Measure, rng: random.Random, classes: Classes, train: Sequence[Labelled], number: int) -> Rows:
    labels = list(classes.pool)
    proposals = [_propose(rng, classes, labels[i % len(labels)], spoiled=i % 17 == 5) for i in range(2 * number)]
    points = _coordinates(measure, classes, [text for text, _ in train] + [proposal.text for proposal in proposals])
    rows = [(proposal.text, proposal.label) for proposal in _pick(points, classes, train, proposals, number)]
    rows[0] = (rows[0][0], next(label for label in labels if label != rows[0][1]))
    return _rows(rows)


def _rows(labelled: Sequence[Labelled]) -> Rows:
    return [{"text": text, "label": label} for text, label in labelled]


def _propose(rng: random.Random, classes: Classes, label: Label, *, spoiled: bool) -> Proposal:
    text = classes.compose(rng, label)
    return Proposal(spoil(rng, text) if spoiled else text, label, label)


def _propose_long(rng: random.Random, classes: Classes, start: int) -> Proposal:
    """A text that opens with another class, and from `start` on is about its own class. Beyond the longest max_len the opening wins."""
    seen, hidden = rng.sample(range(len(classes.fields)), 2)
    text = long_text(rng, several(rng, "app", classes.fields[seen], 2), several(rng, "app", classes.fields[hidden], 5), start)
    return Proposal(text, hidden, seen if start > VIEWS[-1][0] else hidden, start)


def _propose_torn(rng: random.Random, classes: Classes) -> Proposal:
    """A headline in the words of two classes."""
    one, two = (draw_words(rng, field) for field in rng.sample(classes.fields, 2))
    return Proposal(phrase(rng, "headline", vary(rng, one, "headline", rng.randrange(1, 6), two)), "", None)


def _dispute(rng: random.Random, classes: Classes) -> tuple[list[Labelled], list[Proposal]]:
    """The disputed texts of the training pool with their labels, and those to evaluate."""
    dispute = classes.dispute
    if dispute is None:
        return [], []
    texts = variants(rng, dispute.genre, dispute.field, 2 * dispute.each + 5 * dispute.evaluated)
    sides = [(texts.pop(), label) for label in (dispute.first, dispute.second) for _ in range(dispute.each)]
    return sides, [Proposal(text, dispute.first, None) for text in texts]


def _draws(classes: Classes, labels: Sequence[Label]) -> Iterator[list[int]]:
    """The training rows of each experiment (mteb 1.1.1, `AbsTaskClassification._undersample_data`; its generator is at 42 before each)."""
    order = np.arange(len(labels))
    for _ in range(classes.experiments):
        np.random.RandomState(42).shuffle(order)  # the legacy stream is what mteb draws from
        taken: Counter[Label] = Counter()
        rows = []
        for row in order.tolist():
            if taken[labels[row]] < classes.per_label:
                rows.append(row)
                taken[labels[row]] += 1
        yield rows


def _decided(classes: Classes, train: Sequence[Labelled], sides: Mapping[str, Label]) -> bool:
    """Whether one side of the dispute has the majority in every draw, and not always the same side."""
    if classes.dispute is None:
        return True
    leads = []
    for rows in _draws(classes, [label for _, label in train]):
        drawn = Counter(sides.get(train[row][0]) for row in rows)
        leads.append(drawn[classes.dispute.first] - drawn[classes.dispute.second])
    return all(leads) and min(leads) < 0 < max(leads)


def _pick(points: Points, classes: Classes, train: Sequence[Labelled], proposals: Sequence[Proposal], number: int) -> list[Proposal]:
    """The first proposals that are firm, as many as asked for.

    Raises:
        ValueError: there are fewer.
    """
    firm = [proposal for proposal, kept in zip(proposals, _firm(points, classes, train, proposals), strict=True) if kept]
    if len(firm) < number:
        raise ValueError(f"{len(firm)} firm texts, {number} wanted")
    return firm[:number]


def _firm(points: Points, classes: Classes, train: Sequence[Labelled], proposals: Sequence[Proposal]) -> list[bool]:
    """Whether mteb's classifier decides each text by `FIRM` or more in every experiment and view, for the expected class at full length."""
    firm = np.ones(len(proposals), dtype=bool)
    names: list[Mapping[Label, Label]] = [{}, classes.merged] if classes.merged else [{}]
    for rename in names if proposals else []:
        winners = np.array([str(rename.get(proposal.winner, proposal.winner)) for proposal in proposals])  # type: ignore[arg-type]
        for view, lead, won in _decisions(points, classes, train, proposals, rename):
            firm &= above(lead, FIRM, SLACK) & ((winners == won) | (winners == "None") | (view < WHOLE))
    return firm.tolist()


def _torn(points: Points, classes: Classes, train: Sequence[Labelled], proposals: Sequence[Proposal]) -> list[Labelled]:
    """The first proposals that one class wins in every experiment and view, and another in several experiments if iterations end early.

    Raises:
        ValueError: there are fewer than asked for.
    """
    if not proposals:
        return []
    won = [list(_decisions(points, classes, train, proposals, {}, iterations)) for iterations in (ITERATIONS, EARLY)]
    winner = won[0][0][2]
    kept = np.all([above(lead, TORN, SLACK) & (name == winner) for _, lead, name in won[0]], axis=0)
    turned = np.sum([above(lead, TORN, SLACK) & (name != winner) for _, lead, name in won[1]], axis=0)
    found = np.flatnonzero(kept & (turned > classes.experiments / 2))[: classes.torn]
    if len(found) < classes.torn:
        raise ValueError(f"{len(found)} torn texts, {classes.torn} wanted")
    named = {str(label): label for label in classes.pool}
    return [(proposals[number].text, named[winner[number]]) for number in found]


def _decisions(
    points: Points,
    classes: Classes,
    train: Sequence[Labelled],
    proposals: Sequence[Proposal],
    rename: Mapping[Label, Label],
    iterations: int = ITERATIONS,
) -> Iterator[tuple[int, Array, np.ndarray]]:
    """Per view and experiment of mteb's classifier, by how much the winning class of each text leads, and its name."""
    labels = [rename.get(label, label) for _, label in train]
    for view, places in points.items():
        where = np.array([places[proposal.text] for proposal in proposals])
        for rows in _draws(classes, labels):
            model = LogisticRegression(random_state=42, max_iter=iterations)
            with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
                model.fit(np.array([places[train[row][0]] for row in rows]), [labels[row] for row in rows])
            yield view, *_leads(model, where)


def _leads(model: LogisticRegression, points: Array) -> tuple[Array, np.ndarray]:
    """By how much the winning class leads, and its name."""
    scores = model.decision_function(points)
    if scores.ndim == 1:
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    ordered = np.sort(scores, axis=1)
    return ordered[:, -1] - ordered[:, -2], model.classes_[scores.argmax(axis=1)].astype(str)


def _coordinates(measure: Measure, classes: Classes, texts: Sequence[str]) -> Points:
    """The vectors in a basis of the few dimensions they span, per view: the classifier's penalty does not see the difference."""
    found: Points = {}
    for view in range(0 if classes.long else WHOLE, len(VIEWS)):  # without long texts, max_len makes no difference
        left, values, _ = np.linalg.svd(measure.vectors(texts)[view], full_matrices=False)
        rank = int((values > 1e-9 * values[0]).sum())
        found[view] = dict(zip(texts, left[:, :rank] * values[:rank], strict=True))
    return found


def opinions(kinds: Mapping[Label, str], goods: Sequence[str]) -> Composer:
    """Reviews of goods, in the words of the label's opinion."""
    return lambda rng, label: compose(rng, "review", kinds[label], goods=rng.choice(goods))


def about(genre: str, fields: Mapping[Label, str], opening: str = "") -> Composer:
    """Texts of a genre about the label's field, with the same opening."""
    return lambda rng, label: opening + compose(rng, genre, fields[label])


INTENTS: dict[Label, str] = {
    "alarm_set": "闹钟",
    "weather_query": "天气",
    "play_music": "音乐",
    "cooking_recipe": "烹饪",
    "calendar_set": "日历",
    "email_sendemail": "邮件",
    "iot_hue_lightchange": "灯光",
    "transport_taxi": "打车",
    "play_podcasts": "播客",
    "lists_createoradd": "购物单",
    "iot_cleaning": "家电",
}
SCENARIOS: dict[Label, Label] = {intent: str(intent).split("_")[0] for intent in INTENTS}
NEWS: dict[Label, str] = dict(
    enumerate(("体育", "娱乐", "财经", "股票", "房产", "汽车", "教育", "科技", "军事", "旅游", "国际", "农业", "游戏", "文学", "民生"))
)
NEWS_POOL = (40, 40, 36, 36, 34, 34, 33, 42, 4, 4, 4, 4, 4, 4, 4)
AGENCY = "翊茗屿笙昱萱皓霖快讯："  # all news begin with it and some classes are rare, so the classifier takes many steps
APPS: dict[Label, str] = dict(
    enumerate(("打车", "地图", "购物", "外卖", "健身", "拍照", "音乐", "视频", "阅读", "英语", "育儿", "天气", "宠物", "招聘"))
)
APPS_POOL = (44, 40, 36, 34, 30, 24, 20, 16, 14, 12, 12, 10, 8, 8)
STARS: dict[Label, str] = {0: "极差", 1: "差评", 2: "中评", 3: "好评", 4: "极好"}
THREE: dict[Label, str] = {0: "好评", 1: "中评", 2: "差评"}
TWO: dict[Label, str] = {0: "差评", 1: "好评"}
GOODS = ("手机", "服装", "图书", "家电", "食品")


def classification_tasks(measure: Measure) -> dict[str, Tables]:
    """The nine tasks by name; MassiveIntent and MassiveScenario share their texts."""
    tasks = {
        name: classify(measure, name, split, classes)
        for name, (split, classes) in {
            "AmazonReviewsClassification": (
                "test",
                Classes(dict.fromkeys(STARS, 20), 55, 14, opinions(STARS, GOODS), Dispute("转账", "question", 3, 1, 9, 8), per_label=8),
            ),
            "IFlyTek": (
                "validation",
                Classes(
                    dict(zip(APPS, APPS_POOL, strict=True)),
                    70,
                    8,
                    about("app", APPS),
                    Dispute("闹钟", "app", 0, 1, 14, 6),
                    experiments=5,
                    long={515: 4, 770: 3, 1026: 2},
                    fields=tuple(APPS.values()),
                ),
            ),
            "JDReview": ("test", Classes({0: 50, 1: 40}, 46, 4, opinions(TWO, ("手机",)), Dispute("转账", "question", 0, 1, 14, 8))),
            "MassiveIntentClassification": (
                "test",
                Classes(
                    {intent: 12 + 2 * (i % 4) for i, intent in enumerate(INTENTS)},
                    55,
                    9,
                    about("command", INTENTS),
                    Dispute("酒店", "command", "transport_taxi", "calendar_set", 8, 6),
                    per_label=8,
                    merged=SCENARIOS,
                ),
            ),
            "MultilingualSentiment": (
                "validation",
                Classes(
                    dict.fromkeys(THREE, 40),
                    57,
                    9,
                    opinions(THREE, GOODS),
                    Dispute("酒店", "question", 0, 2, 14, 8),
                    further={"test": 40},
                ),
            ),
            "OnlineShopping": (
                "test",
                Classes({0: 42, 1: 44}, 52, 3, opinions(TWO, ("服装", "图书", "酒店", "家电")), Dispute("打车", "question", 1, 0, 12, 5)),
            ),
            "TNews": (
                "validation",
                Classes(
                    dict(zip(NEWS, NEWS_POOL, strict=True)),
                    75,
                    22,
                    about("headline", NEWS, AGENCY),
                    Dispute("时尚", "headline", 0, 7, 16, 6),
                    fields=tuple(NEWS.values()),
                    torn=1,
                ),
            ),
            "Waimai": ("test", Classes({0: 46, 1: 40}, 50, 6, opinions(TWO, ("食品", "外卖")), Dispute("地图", "question", 1, 0, 13, 7))),
        }.items()
    }
    scenarios = {
        table: [row | {"label": SCENARIOS[row["label"]]} for row in rows] for table, rows in tasks["MassiveIntentClassification"].items()
    }
    return tasks | {"MassiveScenarioClassification": scenarios}
