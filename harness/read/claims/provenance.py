"""Checks of the data and the mteb version behind the numbers, by the revisions in the front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.core.benchmarks import Benchmark
from harness.core.formatting import amount, few
from harness.read.claims.findings import Check, Finding, check, judged
from harness.read.claims.sheet import Sheet

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
