"""Checks of the tasks' numbers against each other and the benchmark's table, which find what no model can score; and of the data and the
version of mteb behind them, by the revisions in the front matter.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.benchmarks import Benchmark
from harness.core.formatting import amount, few
from harness.core.tasks import TaskSpec
from harness.read.cards.entries import Claim
from harness.read.claims.findings import Check, Finding, check, judged
from harness.read.claims.sheet import Sheet

_SIMILARITIES = ("cos_sim", "manhattan", "euclidean", "dot", "similarity")  # the last one: mteb 2
_MRR_STEPS = 2520  # the least number that 1 to 10 divide: MRR@10 is a mean of 1/1 ... 1/10
_UNROUNDED = 10  # decimals from which a number counts as not rounded
_MTEB_DECIMALS = 3  # of a percentage: mteb 1.1.1 rounds retrieval metrics to five digits, whoever rounds them again
_MTEB_HALF_DIGIT = 0.5e-3
_BY_CHANCE = 0.05  # where a number of so few digits would pass more often than this, passing says nothing
_EPSILON = 1e-9  # points; a double of 100 has 1.4e-14


@dataclass(frozen=True)
class _Count:
    """A number that is a count in disguise: `metric`, in points, times `count` / 100 is whole."""

    metric: str
    count: int
    what: str


def number_checks(sheet: Sheet, benchmark: Benchmark) -> list[Check]:
    """All checks of the tasks' numbers."""
    ties = list(_ties(sheet, benchmark))
    return [
        check("counts", "accuracy, P@1, MRR and recall times what was counted are whole", _whole_counts(sheet, benchmark)),
        check("maxima", "max_* of a pair classification is the largest of its similarities", _largest(sheet, benchmark)),
        check("F1", "F1 is the harmonic mean of precision and recall", _harmonic_means(sheet, benchmark)),
        check("cut-offs", "retrieval metrics of different cut-offs agree with each other", _cutoffs(sheet, benchmark)),
        check("ties", "ndcg@1 is mrr@1 unless scores are tied", ties, of=len(ties)),
    ]


def resolution(metrics: Mapping[str, float], name: str) -> float:
    """Half a unit of the last digit, in points, that metrics of this kind are given with.

    A kind is `ndcg_at_*`, `mrr_at_*`, ...: mteb rounds some and not others. One short number may be exact, so the longest of its kind
    counts.
    """
    kind = _kind(name)
    decimals = max(_decimals(value) for other, value in metrics.items() if _kind(other) == kind)
    twice = _MTEB_HALF_DIGIT if kind and decimals < _MTEB_DECIMALS else 0.0
    return 0.5 * 10**-decimals + twice if decimals < _UNROUNDED else _EPSILON


def _kind(name: str) -> str:
    return name.partition("_at_")[0] if "_at_" in name else ""


def _decimals(value: float) -> int:
    return next((digits for digits in range(_UNROUNDED) if abs(round(value, digits) - value) < _EPSILON / 10), _UNROUNDED)


def _whole_counts(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    unclear, foreign = [], []
    for task, claim in sheet.by_task(benchmark):
        counts = list(_counts(task, claim))
        if counts and _other_data(sheet, task):
            foreign.append(task.name)
            continue
        for each in counts:
            value, step = claim.metrics[each.metric], 100 / each.count
            unit = resolution(claim.metrics, each.metric)
            chance = min(1, 2 * unit / step)
            whole = abs(value - step * round(value / step)) <= unit + _EPSILON
            if whole and chance > _BY_CHANCE:
                unclear.append(f"{task.name} {each.metric} ({chance:.0%})")
            else:
                text = f"{each.metric} {value} x {each.count / 100:g} ({each.what}) = {value / step:.3f}, no whole number"
                yield judged(whole, task.name, text)
    if unclear:
        text = f"whole, but with so few digits many wrong numbers are whole, too (chance): {', '.join(unclear)}"
        yield Finding("can't tell", "card", text)
    if foreign:
        text = f"the data is not C-MTEB's, so how many texts there were is not known: {few(foreign)}"
        yield Finding("can't tell", "records", text, about=len(foreign))


def _other_data(sheet: Sheet, task: TaskSpec) -> bool:
    """Whether the record says that it was made on data which is not the benchmark's, whose numbers of texts are in its table."""
    data = sheet.run.records[task.name].made.data if task.name in sheet.run.records else None
    return data is not None and data.verdict == "not C-MTEB"


def _counts(task: TaskSpec, claim: Claim) -> Iterator[_Count]:
    return (each for each in _known_counts(task) if each.metric in claim.metrics and each.count > 0)


def _figures(task: TaskSpec, table: str) -> Mapping[str, Any]:
    """What is known of a table of the task; 0 rows where nothing is."""
    return {"rows": 0, **task.statistics.get(table, {})}


def _known_counts(task: TaskSpec) -> Iterator[_Count]:
    figures = _figures(task, task.split)
    match task.type:
        case "Classification":
            texts, experiments = figures["rows"], task.n_experiments or 1
            yield _Count("accuracy", texts * experiments, f"{texts} texts, {experiments} experiments")
        case "PairClassification":
            pairs, positives = figures["rows"], figures.get("labels", {}).get("1", 0)
            for similarity in _SIMILARITIES:
                yield _Count(f"{similarity}_accuracy", pairs, f"{pairs} pairs")
                yield _Count(f"{similarity}_recall", positives, f"{positives} positive pairs")
        case "Reranking":
            samples = figures.get("query", {}).get("rows", 0)
            yield _Count("mrr", samples * _MRR_STEPS, f"{samples} samples, steps of 1/{_MRR_STEPS}")
        case "Retrieval":
            queries = _figures(task, "queries")["rows"]
            for name in ("precision_at_1", "mrr_at_1"):
                yield _Count(name, queries, f"{queries} queries")


def _largest(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    for task, claim in sheet.by_task(benchmark, "PairClassification"):
        for name in ("accuracy", "ap", "f1"):
            known = {each: claim.metrics[f"{each}_{name}"] for each in _SIMILARITIES if f"{each}_{name}" in claim.metrics}
            largest = claim.metrics.get(f"max_{name}")
            if largest is not None and len(known) >= len(_SIMILARITIES) - 1:
                best = max(known, key=known.__getitem__)
                text = f"max_{name} is {largest}, the largest is {best}_{name} {known[best]}"
                yield judged(abs(largest - known[best]) <= _EPSILON, task.name, text)


def _harmonic_means(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    for task, claim in sheet.by_task(benchmark, "PairClassification"):
        for similarity in _SIMILARITIES:
            precision, recall, f1 = (claim.metrics.get(f"{similarity}_{name}") for name in ("precision", "recall", "f1"))
            if precision is None or recall is None or f1 is None or not precision + recall:
                continue
            expected = 2 * precision * recall / (precision + recall)
            # each of the two has a derivative of at most 2 in the mean
            fine = abs(f1 - expected) <= 5 * resolution(claim.metrics, f"{similarity}_f1") + _EPSILON
            yield judged(fine, task.name, f"{similarity}_f1 is {f1}; precision {precision} and recall {recall} make {expected:.6f}")


def _cutoffs(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    """map@1 is recall@1 in trec_eval, and no longer list of results can lower recall, map or mrr, nor the hits P@k x k."""
    for task, claim in sheet.by_task(benchmark, "Retrieval"):
        metrics = claim.metrics
        wrong = []
        if {"map_at_1", "recall_at_1"} <= metrics.keys() and abs(metrics["map_at_1"] - metrics["recall_at_1"]) > _EPSILON:
            wrong.append(f"map_at_1 {metrics['map_at_1']} is not recall_at_1 {metrics['recall_at_1']}")
        for kind in ("recall", "map", "mrr", "precision"):
            cutoffs = sorted(int(match[1]) for name in metrics if (match := re.fullmatch(rf"{kind}_at_(\d+)", name)))
            for shorter, longer in itertools.pairwise(cutoffs):
                factors = (shorter, longer) if kind == "precision" else (1, 1)
                low, high = (metrics[f"{kind}_at_{cutoff}"] * factor for cutoff, factor in zip((shorter, longer), factors, strict=True))
                if low > high + resolution(metrics, f"{kind}_at_{longer}") * sum(factors) + _EPSILON:
                    wrong.append(f"{kind}_at_{longer} is too low for {kind}_at_{shorter}")
        wrong += _first_hits(metrics)
        if any("_at_" in name for name in metrics):
            yield from [Finding("contradicts", task.name, text) for text in wrong] or [Finding("holds", task.name, "")]


def _first_hits(metrics: Mapping[str, float]) -> Iterator[str]:
    """P@1, ndcg@1 and mrr@1 ask whether the first result is relevant; where grades are several, ndcg@1 differs from both others."""
    precision, ndcg, mrr = (metrics.get(name) for name in ("precision_at_1", "ndcg_at_1", "mrr_at_1"))
    if precision is None or ndcg is None or mrr is None:
        return
    units = {name: resolution(metrics, name) for name in ("precision_at_1", "ndcg_at_1", "mrr_at_1")}
    alike = abs(ndcg - mrr) <= units["ndcg_at_1"] + units["mrr_at_1"] + _EPSILON
    if alike and abs(precision - ndcg) > units["precision_at_1"] + units["ndcg_at_1"] + _EPSILON:
        yield f"precision_at_1 {precision:g} is not ndcg_at_1 and mrr_at_1, which are {ndcg:g} and ask the same"


def _ties(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    """ndcg@1 and mrr@1 ask the same, is the first result relevant; beir's two sorts answer unlike where scores are tied."""
    for task, claim in sheet.by_task(benchmark, "Retrieval"):
        precision, ndcg, mrr = (claim.metrics.get(name) for name in ("precision_at_1", "ndcg_at_1", "mrr_at_1"))
        if precision is None or ndcg is None or mrr is None or abs(precision - ndcg) > _EPSILON:
            continue  # graded relevance: ndcg@1 is something else
        if abs(ndcg - mrr) <= resolution(claim.metrics, "ndcg_at_1") + resolution(claim.metrics, "mrr_at_1") + _EPSILON:
            yield Finding("holds", task.name, "")
            continue
        known = {} if _other_data(sheet, task) else task.statistics
        queries = known.get("queries", {}).get("rows")
        hits = f" ({ndcg * queries / 100:.0f} and {mrr * queries / 100:.0f} of {queries} queries)" if queries else ""
        text = f"ndcg_at_1 {ndcg:g} and mrr_at_1 {mrr:g} differ{hits}: beir under mteb 1.1.x sorts tied scores in two ways, mteb 2 in one"
        corpus = known.get("corpus", {})
        copies = corpus.get("rows", 0) - corpus.get("unique", 0) if "unique" in corpus else 0
        yield Finding("noted", task.name, text + (f". {copies} of its passages are copies of others" if copies else ""))


MTEB_1_1_1 = {
    "AmazonReviewsClassification": "1399c76144fd37290681b995c656ef9b2e06e26d",
    "MassiveIntentClassification": "31efe3c427b0bae9c22cbb560b8f15491cc6bed7",
    "MassiveScenarioClassification": "7d571f92784cd94a019292a1f45445077d0ef634",
    "STS22": "6d1ba47164174a496b7fa5d3569dae26a6813b80",
}
"""All revisions that mteb 1.1.1 pins for the 35 tasks, from its task descriptions; it pins none of the 31 C-MTEB repositories.

mteb writes into a result what it has pinned. 1.1.2 (2024-02-16) pins all 35, and another revision of STS22 (`git diff 1.1.1 1.1.2`).
"""

_VERSION = re.compile(r"(?<![\w-])mteb(?:\[\w+\])?\s*(?:==|>=|<=|~=|version|v)?\s*(\d+\.\d+(?:\.\d+)?)", re.IGNORECASE)


def provenance_checks(sheet: Sheet, benchmark: Benchmark) -> list[Check]:
    """Revisions against the benchmark's table, and the version of mteb that they imply."""
    about = f"split and revision of every task are those that {benchmark.name} pins"
    return [
        check("revisions", about, _revisions(sheet, benchmark), of=len(sheet.claims)),
        check("version", "the revisions are those of the version of mteb that is named", _version(sheet, benchmark)),
    ]


def named_version(sheet: Sheet) -> str | None:
    """The version of mteb that the text or the code names (`mteb==1.1.1`), or that all records name; None where there is none."""
    if sheet.document is None:
        versions = {record.mteb_version for record in sheet.run.records.values()}
        found = re.match(r"\d+\.\d+(\.\d+)?", str(versions.pop())) if len(versions) == 1 else None
        return found[0] if found else None
    parts = [line for _, line in sheet.document.prose] + [block.code for block in sheet.document.blocks]
    found = _VERSION.search("\n".join(parts))
    return found[1] if found else None


def _revisions(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    silent = []
    for task, claim in sheet.by_task(benchmark):
        if claim.revision is None:
            silent.append(task.name)
        elif claim.revision == task.revision:
            yield Finding("holds", task.name, "")
        else:
            text = f"revision {claim.revision[:8]} of {task.hub}; {benchmark.name} pins {task.revision[:8]}: another state of the data"
            yield Finding("noted", task.name, text)
    if silent:
        yield Finding("can't tell", "card", f"no revision is stated for {amount(len(silent), 'task')}: {few(silent)}")
    claimed = {claim.task for claim in sheet.claims}
    missing = [task.name for task in benchmark.tasks if task.name not in claimed]
    if missing:
        yield Finding("noted", "card", f"no claim for {len(missing)} of the {len(benchmark.tasks)} tasks: {few(missing)}")


def _version(sheet: Sheet, benchmark: Benchmark) -> Iterator[Finding]:
    if not set(MTEB_1_1_1) <= {task.name for task in benchmark.tasks}:
        return
    if any(record.made.trust == "ours" and record.made.data for record in sheet.run.records.values()):
        yield Finding("can't tell", "records", "this harness pins revisions itself, whatever mteb does")
        return
    pairs = [(task, claim.revision) for task, claim in sheet.by_task(benchmark) if claim.revision is not None]
    later = [task.name for task, revision in pairs if revision == task.revision != MTEB_1_1_1.get(task.name)]
    named, where = named_version(sheet), "card" if sheet.document else "records"
    if later:
        text = f"{len(later)} revisions are pinned from mteb 1.1.2 on, not in 1.1.1: these numbers were not made by mteb 1.1.1 as it is"
        if named is None:
            yield Finding("noted", where, f"{text}; no version is named")
        else:
            yield judged(tuple(map(int, named.split("."))) > (1, 1, 1), where, f"{text}, which is named")
    elif pairs and all(MTEB_1_1_1.get(task.name) == revision for task, revision in pairs):
        text = "only the revisions that mteb 1.1.1 pins are stated: made with it or an older one, on whatever the data was that day"
        yield Finding("noted", where, text)
