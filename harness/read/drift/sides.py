"""The two sides of a gate: a baseline and a candidate, which tasks of them are compared, and whether two scores can be: protocol, data,
model name, dtype, length and dimension must be the same.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError
from harness.core.formatting import stated
from harness.core.records import Run, TaskRecord
from harness.core.tasks import TaskSpec
from harness.read.differences import SettingDifference, differences
from harness.read.runs import one_run


def read_sides(baseline: Path, candidate: Path, benchmark: Benchmark, *, merge: str | None = None) -> tuple[Run, Run]:
    """The runs of two folders; raises as `one_run` does, and RequestError where both are the same folder."""
    if baseline.resolve() == candidate.resolve():
        raise RequestError(f"baseline and candidate are the same folder ({baseline}): name the run that is to be checked")
    return one_run(baseline, benchmark, merge=merge), one_run(candidate, benchmark, merge=merge)


def wanted_tasks(baseline: Run, candidate: Run, benchmark: Benchmark, tasks: Sequence[str]) -> tuple[TaskSpec, ...]:
    """All tasks of the baseline, or those of `tasks` (names or types).

    Raises:
        RequestError: `tasks` names what the baseline does not have.
        InputError: the baseline has no record, or a record of one side is damaged.
    """
    there = {**baseline.records, **baseline.broken}
    wanted = tuple(task for task in benchmark.select(tasks) if tasks or task.name in there)
    if absent := [task.name for task in wanted if task.name not in there]:
        raise RequestError(f"{baseline.path} has no score for {', '.join(absent)}: name tasks that it has with --tasks")
    if not wanted:
        raise InputError(f"{baseline.path} has no record, so no candidate can be compared with it: name a finished run")
    if damaged := [run.broken[task.name] for run in (baseline, candidate) for task in wanted if task.name in run.broken]:
        raise InputError("\n".join(damaged))
    return wanted


def unlike_settings(baseline: Run, candidate: Run) -> tuple[SettingDifference, ...]:
    """The settings that make two runs different questions, for all tasks alike; empty where they ask the same one."""
    found = [each for each in differences(baseline, candidate) if each.kind == "protocol"]
    for name in ("model", "dtype", "max_len", "dim"):
        a, b = (getattr(run.header, name) for run in (baseline, candidate))
        if a != b or a in ("", None):
            found.append(SettingDifference(kind="model" if name == "model" else "setting", key=name, a=stated(a), b=stated(b)))
    if not (baseline.ours and candidate.ours):
        a, b = ("this harness" if run.ours else "others, who do not state their settings" for run in (baseline, candidate))
        found.append(SettingDifference(kind="protocol", key="made by", a=a, b=b))
    return tuple(found)


def environment(baseline: Run, candidate: Run) -> tuple[SettingDifference, ...]:
    """Whatever else the runs differ in: what may explain that the same question has another answer."""
    known = {each.key for each in unlike_settings(baseline, candidate)}
    asked = {"spec.dim", "spec.dtype", "spec.max_len", "spec.model.name"}  # the header has what became of them
    return tuple(each for each in differences(baseline, candidate) if each.key not in known | asked)


def unlike_data(task: TaskSpec, baseline: TaskRecord, candidate: TaskRecord) -> str:
    """Why two records of a task were made on other data or by another definition; empty where they were not.

    Data is the same when its files have the same bytes. Where they have not (another form of the file) it is the same when both sides were
    verified against the known figures and no revision contradicts.
    """
    if baseline.split != candidate.split:
        return f"split {baseline.split} against {candidate.split}"
    if baseline.mteb_version != candidate.mteb_version:
        return f"mteb {baseline.mteb_version or 'not stated'} against {candidate.mteb_version or 'not stated'}"
    verdicts = [record.made.data.verdict if record.made.data else None for record in (baseline, candidate)]
    if same_files(baseline, candidate):
        read = "the same data files are {} in one run and {} in the other: look for a change of the code that reads them"
        return read.format(*verdicts) if set(verdicts) == {"verified", "not C-MTEB"} else ""
    hashes = [_hashes(record) for record in (baseline, candidate)]
    revisions = [record.dataset_revision for record in (baseline, candidate)]
    if None not in revisions and revisions[0] != revisions[1]:
        return f"data revision {str(revisions[0])[:8]} against {str(revisions[1])[:8]}"
    if verdicts == ["verified", "verified"] or (None not in revisions and not all(hashes)):
        return ""
    return "other data files" if all(hashes) else f"nothing shows that both had the same data of {task.name}"


def same_files(baseline: TaskRecord, candidate: TaskRecord) -> bool:
    """Whether both state the bytes of their data files, and the same ones."""
    own, other = (_hashes(record) for record in (baseline, candidate))
    return bool(own) and own == other


def _hashes(record: TaskRecord) -> list[str]:
    """The SHA-256 of the files, whatever they are called."""
    return sorted(record.made.data.sha256.values()) if record.made.data else []
