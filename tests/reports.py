"""Runs for tests of the report, and its page as a browser reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from runs import BENCHMARK, BY_HAND, HEADER, VERIFIED, manifest_of, write_run
from scipy.stats import spearmanr

from harness.core.calibration import Calibration, MetricNoise, Rounding, write_calibration
from harness.core.examples import make_examples, write_examples
from harness.core.run_files import write_manifest
from harness.core.spec import DataSpec
from harness.data.sources import load_task
from harness.data.types import PairData
from harness.show.form import write_document
from harness.show.report.heat import HeatCell
from harness.show.report.html import report_document
from harness.show.report.report import Report

NAMES = [task.name for task in BENCHMARK.tasks]
SAMPLE = {"data": {"verdict": "not C-MTEB", "sha256": {"test.jsonl": "aa"}}}
HOSTILE = "</script><script>alert(1)</script>\"'onmouseover=alert(2) {{ 7*7 }} & <b>"


def ours(
    folder: Path,
    *,
    dim: int = 1792,
    max_len: int = 512,
    scores: Mapping[str, float] = BY_HAND,
    harness: Mapping[str, Any] = VERIFIED,
    model: str = "acge",
    **content: Any,
) -> Path:
    """A run of this harness with what the report reads: a spec, and further fields of the manifest."""
    header = replace(HEADER, dim=dim, max_len=max_len, model=model)
    write_run(folder, scores, header=header, harness=harness)
    message = {"spec": {"dim": dim, "max_len": max_len, "dtype": "fp16"}, "run": folder.name, "model": {"weights_digest": "w"}}
    write_manifest(folder, manifest_of(header, {**message, **content}))
    return folder


def with_examples(folder: Path, *, dim: int, moved: int | None = None) -> Path:
    """A run that keeps the examples of one task of the sample: as alike as their gold scores say, but for the pair `moved`."""
    task = BENCHMARK.task("STSB")
    data = load_task(task, DataSpec(source="sample")).data
    assert isinstance(data, PairData)
    gold = np.asarray(data.target)
    cos_sim = gold + np.arange(len(gold)) / 1e6
    if moved is not None:
        cos_sim[moved] = 9.0
    similarities = dict.fromkeys(("cos_sim", "manhattan", "euclidean"), cos_sim)
    examples = make_examples(range(len(gold)), zip(data.first, data.second, strict=True), {"gold": gold, **similarities})
    spec = {"dim": dim, "max_len": 512, "dtype": "fp16", "data": {"source": "sample", "reads_root": False}}
    run = ours(folder, dim=dim, scores={"STSB": float(spearmanr(gold, cos_sim).statistic)}, spec=spec)
    write_examples(run, task, examples)
    return run


def calibration(path: Path, *, run: str, tolerance: float, task: str = "STSB", score: float = 60.0) -> Path:
    rounding = Rounding(tolerance=tolerance, draws=9, moved=3, mean=0.0, sd=0.1, largest=tolerance, wide=tolerance)
    noise = {task: {"cos_sim_spearman": MetricNoise(score=score, rounding=rounding)}}
    write_calibration(path, Calibration(run=run, benchmark=BENCHMARK.digest, weights="w", tasks=noise, provenance={}))
    return path


def heat_cells(report: Report, task: str) -> list[HeatCell]:
    assert report.heat is not None
    return list(next(row for row in report.heat.rows if row.task == task).cells)


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag not in ("meta", "link", "input", "br", "wbr"):
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        if tag in {self.elements[index][0] for index in self._open}:
            while self.elements[self._open.pop()][0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        return [
            (found, "".join(text))
            for name, found, text in self.elements
            if name == tag and all(value in found.get(key.rstrip("_").replace("_", "-"), "").split() for key, value in attributes.items())
        ]


def page_text(report: Report, output: Path) -> str:
    return write_document(report_document(report, output=output), "html")


def page_of(report: Report, output: Path) -> Page:
    return Page(page_text(report, output))
