"""Commands that are killed with SIGKILL at drawn points: the same command, given again, ends with the files of one that nobody disturbed.

`CRASH_SEED=7 CRASH_ROUNDS=100 pytest -s -m slow tests/test_crash.py` tries other points, and 100 times as many.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crashing import Commands
from fakehub import FakeHub, commit_of, parquet, running
from runs import BENCHMARK

SEED, ROUNDS = int(os.environ.get("CRASH_SEED", "0")), int(os.environ.get("CRASH_ROUNDS", "5"))
KINDS = {"run": 1, "sweep": 1, "fetch": 3, "baseline": 4, "calibrate": 1}
"""Rounds in CI, a fifth of those at length."""

TASKS = "STSB,Ocnli,JDReview"
ALL = ",".join(task.name for task in BENCHMARK.tasks)
MADE = "made"  # by a template: runs, their store and a baseline
VOLATILE = ("evaluation_time", "date")
AMONG = {"costs.jsonl", ".lock"}  # a line per start, and nothing


@dataclass
class World:
    """A folder that every round makes anew, and the process that works in it."""

    folder: Path
    commands: Commands

    def words(self, kind: str, tasks: str) -> list[str]:
        store, asked = f"store={self.folder / 'store'}", [f"tasks=[{tasks}]", "model=sample", "data=sample", "gpu=cpu"]
        *_, run = [self.folder, *sorted((self.folder / MADE / "sample").glob("*"))]
        to = ["--to", str(self.folder / "accepted"), "--name", "one", "--why", "x", "--tasks", TASKS, "--uncalibrated"]
        return {
            "run": ["run", "--quiet", store, f"results_dir={self.folder / 'results'}", *asked],
            "sweep": ["sweep", "dim=64,128", store, f"results_dir={self.folder / 'results'}", *asked, "tasks=[STSB]"],
            "fetch": ["fetch", f"data.root={self.folder / 'mirror'}", "tasks=[AFQMC,BQ,CovidRetrieval]"],
            "calibrate": ["calibrate", str(run), "--draws", "5", "--parts", "rounding", store],
            "baseline": ["baseline", "accept", str(run), *to],
        }[kind]

    def reset(self, kind: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if kind in ("calibrate", "baseline"):
            shutil.copytree(self.folder.with_name(MADE), self.folder)
        else:
            self.folder.mkdir()

    def run(self, words: list[str]) -> int:
        """The number of the command's events."""
        ended = self.commands.run(words)
        assert (ended.code, ended.orphans) == (0, []), f"{ended.output}\n{ended.orphans}"
        assert ended.events is not None
        return ended.events

    def temporary(self) -> list[str]:
        return sorted(path.name for path in self.folder.with_name("tmp").iterdir())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("crash")
    (root / "tmp").mkdir()
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(root / "inductor")}  # torch makes it when it is imported
    environment = {"HF_HOME": str(root / "world" / "hf"), "OMP_NUM_THREADS": "1"} | cache
    with running(hub()) as fake, Commands(environment | {"HF_ENDPOINT": fake.endpoint}, root / "tmp") as commands:
        made = World(root / "world", commands)
        made.reset("run")
        run = [*made.words("run", TASKS), f"results_dir={made.folder / MADE}"]
        made.run([*run, "dim=64"])  # the baseline that is replaced
        short = next((made.folder / MADE / "sample").iterdir())
        made.run(
            [word.replace(str(made.folder), str(short)) if word == str(made.folder) else word for word in made.words("baseline", TASKS)]
        )
        made.run(run)
        made.folder.rename(root / MADE)
        yield made


def hub() -> FakeHub:
    """Three tasks: one file, two files, and judgements at an unpinned commit."""
    fake = FakeHub()
    afqmc, bq, covid = (BENCHMARK.task(name) for name in ("AFQMC", "BQ", "CovidRetrieval"))
    pairs = {"sentence1": ["甲", "丙"], "sentence2": ["乙", "丁"], "score": [1, 0]}
    fake.add(afqmc.hub, afqmc.revision, {"data/validation-00000-of-00001-aa.parquet": parquet(pairs)})
    fake.add(bq.hub, bq.revision, {f"data/test-0000{part}-of-00002-bb.parquet": parquet(pairs) for part in range(2)})
    tables = {"corpus": {"id": ["d"], "text": ["段"]}, "queries": {"id": ["q"], "text": ["问"]}}
    fake.add(covid.hub, covid.revision, {f"data/{name}-00000-of-00001.parquet": parquet(table) for name, table in tables.items()})
    qrels = parquet({"qid": ["q"], "pid": ["d"], "score": [1]})
    fake.add("C-MTEB/CovidRetrieval-qrels", commit_of("qrels"), {"data/dev-00000-of-00001.parquet": qrels})
    return fake


def contents(folder: Path) -> dict[str, Any]:
    """Every file but the store's shards, whose number follows from when they were written, with its bytes or, for JSON, its values."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        of_store = name.startswith("store/") and path.suffix in (".safetensors", ".proof", ".json")
        if (
            path.name in AMONG or of_store or name.startswith("hf")
        ):  # huggingface_hub's cache: other programs share it, we never delete there
            continue
        if path.is_dir():
            found |= {} if any(path.iterdir()) else {name: "an empty folder"}
        elif path.suffix == ".json":
            found[name] = without(json.loads(path.read_bytes()))
        elif path.suffix == ".jsonl":  # who gives a command again after it was finished accepts the same run twice
            found[name] = sorted({json.dumps(without(json.loads(line)) | {"replaces": None}) for line in path.read_bytes().splitlines()})
        else:
            found[name] = path.read_bytes()
    return found


def without(value: Any) -> Any:
    if isinstance(value, list):
        return [without(each) for each in value]
    return {key: without(each) for key, each in value.items() if key not in VOLATILE} if isinstance(value, dict) else value


def crash(world: World, kind: str, rounds: int, tasks: str = TASKS) -> None:
    world.reset(kind)
    words = world.words(kind, tasks)
    events = world.run(words)
    expected, kills = contents(world.folder), 0
    assert expected
    for number in range(rounds):
        draw = random.Random(f"{SEED} {kind} {number}")
        world.reset(kind)
        drawn = [(draw.randint(1, events), draw.choice((0.0, 0.0, draw.uniform(0.0, 0.05)))) for _ in range(draw.choice((1, 1, 2, 3)))]
        told = f"CRASH_SEED={SEED}, {kind} number {number}, killed at {drawn} of {events}"
        for kill_at, delay in drawn:
            ended = world.commands.run(words, kill_at=kill_at, delay=delay)
            assert ended.code in (0, -9), f"{told}: {ended.output}"
            assert ended.orphans == [], told
            kills += ended.code == -9
        finished = {path: path.stat().st_ino for path in world.folder.glob("results/*/*/[A-Z]*.json")}
        world.run(words)
        assert {path: path.stat().st_ino for path in finished} == finished, f"{told}: a finished task is computed again"
        found = contents(world.folder)
        assert found.keys() == expected.keys(), f"{told}: {found.keys() ^ expected.keys()}"
        assert found == expected, f"{told}: {[name for name in found if found[name] != expected[name]]}"
        assert world.temporary() == [], told
    print(f"{kind}: {rounds} rounds, {kills} kills among {events} events, 0 leftovers, 0 orphans")
    assert kills


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_command_given_again_ends_as_if_nothing_had_happened(world: World, kind: str) -> None:
    crash(world, kind, KINDS[kind])


def test_a_killed_run_of_all_tasks_given_again_has_35_equal_records(world: World) -> None:
    crash(world, "run", 1, tasks=ALL)
    assert len(list(world.folder.glob("results/*/*/[A-Z]*.json"))) == 35


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_kills(world: World, kind: str) -> None:
    crash(world, kind, ROUNDS * KINDS[kind])
