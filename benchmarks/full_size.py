"""Memory and seconds of a whole run on data of C-MTEB's size: python benchmarks/full_size.py [--share 1 --max-len 1024]

All 35 tasks with the rows, distinct texts, lengths and labels of `configs/tasks.yaml`, texts of random Han characters, letters and digits,
and a model of one small layer whose vectors have acge's 1792 numbers: everything around the model is as large as it will be, the scores
mean nothing. Two commands `run`, each in a process of its own with the same store: the first encodes, the second finds every vector there.
A share of 1 takes 1.1 GB of disk for the data and 7 GB for the store, and an hour or two on 2 cores; the memory of each is printed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import ROOT, report, say_machine
from synthetic import Shape, build_model

from harness.core.benchmarks import load_benchmark
from harness.core.dtypes import DTYPES
from harness.core.tasks import TaskSpec
from harness.evaluate.lengths import Field

LITTLE = Shape(layers=1, hidden=64, heads=2, intermediate=128)
SETS = 10  # of a clustering task


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what both runs took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.02, help="of the rows of every table")
    parser.add_argument("--max-len", type=int, default=128)
    parser.add_argument("--dtype", choices=list(DTYPES), default="bf16")
    parser.add_argument("--tasks", default="all", help="names or types, with commas between them")
    parser.add_argument("--folder", type=Path, help="keep data, store and results here, and go on from what is there")
    chosen = parser.parse_args(arguments)
    say_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch)
        tasks = load_benchmark().select([] if chosen.tasks == "all" else chosen.tasks.split(","))
        for task in tasks:
            _Tables(task, folder / "data", chosen.share).write()
        model = folder / "little" / "model"
        if not model.is_dir():
            build_model(folder / "little", LITTLE)
        settings = [
            *(f"model={model}", "data=local", f"data.root={folder / 'data'}", "data.verify=label", "gpu=cpu", f"dtype={chosen.dtype}"),
            *(f"max_len={chosen.max_len}", f"store={folder / 'store'}", f"tasks=[{','.join(task.name for task in tasks)}]"),
        ]
        for name in ("encoded", "found in the store"):
            _run(name, [*settings, f"results_dir={folder / name.split()[0]}"])


def _run(name: str, settings: Sequence[str]) -> None:
    """Run the command to its end, and print seconds and memory."""
    results = Path(settings[-1].partition("=")[2])
    command = [sys.executable, "-m", "harness", "run", *settings]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{output.read()}\nthe run ended with {process.returncode}; with -9 it was killed, most likely for want of memory")
    lines = [json.loads(line) for file in results.rglob("costs.jsonl") for line in file.read_text(encoding="utf-8").splitlines()]
    encoding = [line["encoding"] for line in lines if "encoding" in line and "tasks" in line]
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    total = {
        key: sum(each.get(key, 0) for each in encoding) for key in ("texts", "found", "real_tokens", "tokenize_seconds", "encode_seconds")
    }
    spent = {stage: sum(each.get(stage, 0.0) for each in seconds) for stage in ("loading", "scoring")}
    print(
        f"{name}: {total['texts']:,.0f} texts, {total['found']:,.0f} found, {total['real_tokens']:,.0f} tokens; windows {len(encoding)}; "
        f"seconds: reading {spent['loading']:.0f}, tokenising {total['tokenize_seconds']:.0f} of encoding {total['encode_seconds']:.0f}, "
        f"scoring {spent['scoring']:.0f}",
        flush=True,
    )
    report(f"peak memory, {name}, GiB", [used.ru_maxrss / 2**20])


class _Tables:
    """The tables of a task, a Parquet file each."""

    def __init__(self, task: TaskSpec, root: Path, share: float) -> None:
        self._task = task
        self._folder = root / task.name
        self._share = share
        self._draw = np.random.default_rng(list(task.name.encode()))
        self._letters = _letters()

    def write(self) -> None:
        """Write what is not there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, table in self._tables().items():
            path = self._folder / f"{name}.parquet"
            if not path.is_file():
                pq.write_table(pa.table(dict(table)), path)

    def _tables(self) -> dict[str, Mapping[str, list[Any]]]:
        known = self._task.statistics
        if self._task.type == "Retrieval":
            return self._retrieval(known)
        make = {"Reranking": self._reranking, "Clustering": self._clustering, "Classification": self._classification}
        return {split: make.get(self._task.type, self._pairs)(figures) for split, figures in known.items()}

    def _retrieval(self, known: Mapping[str, Any]) -> dict[str, Mapping[str, list[Any]]]:
        passages, queries = (self._texts(known[table]) for table in ("corpus", "queries"))
        judged = {(number, int(self._draw.integers(len(passages)))) for number in range(len(queries))}
        while len(judged) < known["qrels"]["rows"] * self._share:
            judged.add((int(self._draw.integers(len(queries))), int(self._draw.integers(len(passages)))))
        rows = sorted(judged)
        return {
            "corpus": {"id": [f"p{number}" for number in range(len(passages))], "text": passages},
            "queries": {"id": [f"q{number}" for number in range(len(queries))], "text": queries},
            "qrels": {"qid": [f"q{query}" for query, _ in rows], "pid": [f"p{passage}" for _, passage in rows], "score": [1] * len(rows)},
        }

    def _reranking(self, figures: Mapping[str, Any]) -> Mapping[str, list[Any]]:
        queries, candidates = self._texts(figures["query"]), self._texts(figures["documents"])
        relevant = max(len(queries), round(figures["positive"]["rows"] * self._share))
        positive, negative = self._cut(candidates[:relevant], len(queries)), self._cut(candidates[relevant:], len(queries))
        return {"query": queries, "positive": positive, "negative": negative}

    def _clustering(self, figures: Mapping[str, Any]) -> Mapping[str, list[Any]]:
        texts, labels = self._labelled(figures["sentences"], figures["labels"], figures["rows"])
        bounds = np.linspace(0, len(texts), SETS + 1).astype(int).tolist()
        sets = [slice(*pair) for pair in itertools.pairwise(bounds)]
        return {"sentences": [texts[part] for part in sets], "labels": [labels[part] for part in sets]}

    def _classification(self, figures: Mapping[str, Any]) -> Mapping[str, list[Any]]:
        texts, labels = self._labelled(figures["text"], figures["label"], figures["rows"])
        return {"text": texts, "label": [int(label) if label.lstrip("-").isdigit() else label for label in labels]}

    def _pairs(self, figures: Mapping[str, Any]) -> Mapping[str, list[Any]]:
        names = [name for name, column in figures.items() if isinstance(column, Mapping) and "chars" in column]
        columns = {name: self._texts(figures[name], figures["rows"]) for name in names}
        rows = min(map(len, columns.values()))
        columns = {name: texts[:rows] for name, texts in columns.items()}
        if self._task.type == "PairClassification":  # one row of lists
            labels = self._draw.integers(2, size=rows).tolist()
            return {**{name: [texts] for name, texts in columns.items()}, "labels": [labels]}
        return {**columns, "score": self._draw.uniform(0, 5, size=rows).round(1).tolist()}

    def _labelled(self, column: Mapping[str, Any], labels: Mapping[str, int], rows: int) -> tuple[list[str], list[str]]:
        """Texts with their labels; those of a label begin alike. Every label has two texts at least."""
        texts = self._texts(column, rows, at_least=2 * len(labels))
        drawn = self._draw.choice(list(labels), size=len(texts), p=np.array(list(labels.values())) / sum(labels.values())).tolist()
        drawn[: 2 * len(labels)] = [*labels, *labels]
        begins = {label: self._letters[3 * number : 3 * number + 3] for number, label in enumerate(labels)}
        return [begins[label] + text for label, text in zip(drawn, texts, strict=True)], drawn

    def _texts(self, column: Mapping[str, Any], rows: int | None = None, *, at_least: int = 2) -> list[str]:
        """Texts of a column, as many of them distinct and as long as its statistics say."""
        rows = rows or column["rows"]
        wanted = max(at_least, round(rows * self._share))
        distinct = min(wanted, max(2, round(column["unique"] * self._share)))
        lengths = _field(self._task, column, rows, distinct).characters(self._draw)
        starts = self._draw.integers(len(self._letters) - int(lengths.max()), size=distinct).tolist()
        texts = [self._letters[start : start + length].strip() or "空" for start, length in zip(starts, lengths.tolist(), strict=True)]
        order = self._draw.permutation(np.concatenate([np.arange(distinct), self._draw.integers(distinct, size=wanted - distinct)]))
        return [texts[place] for place in order.tolist()]

    def _cut(self, candidates: list[str], lists: int) -> list[list[str]]:
        """The candidates in so many lists of one or more."""
        bounds = [0, *np.sort(self._draw.choice(np.arange(1, len(candidates)), size=lists - 1, replace=False)).tolist(), len(candidates)]
        return [candidates[start:end] for start, end in itertools.pairwise(bounds)]


def _field(task: TaskSpec, column: Mapping[str, Any], rows: int, distinct: int) -> Field:
    mean = column["chars"] / rows
    return Field(task=task, name="", texts=rows, distinct=distinct, mean=mean, shortest=max(1, column["min"]), longest=column["max"])


def _letters() -> str:
    """A million characters to cut texts from: Han, of which some are frequent, and an eighth of others."""
    draw = np.random.default_rng(0)
    frequency = np.arange(1, 6001) ** -0.9
    han = draw.choice(0x4E00 + draw.permutation(20_000)[:6000], size=1_000_000, p=frequency / frequency.sum())
    others: npt.NDArray[np.int64] = np.array(list(map(ord, "，。、？！ABCDEFabcdefghij0123456789 ")))
    return "".join(map(chr, np.where(draw.random(len(han)) < 0.875, han, draw.choice(others, size=len(han)))))


if __name__ == "__main__":
    main()
