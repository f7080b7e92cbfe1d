"""Model cards for tests: the front matter of the published records, which agrees with itself, and any text that a test adds below it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from runs import BENCHMARK, PUBLISHED

from harness.core.records import flat_metrics
from harness.core.run_files import read_run
from harness.read.cards.page import HEADER_TITLES, read_rows, score_titles
from harness.show.export.model_index import Entry

TITLES = [*HEADER_TITLES, *score_titles(BENCHMARK.tasks).values()]
METRICS = {
    name: {metric: 100 * value for metric, value in flat_metrics(record.metrics, BENCHMARK.task(name)).items()}
    for name, record in read_run(PUBLISHED, BENCHMARK).records.items()
}
"""Task -> flat metric -> the number of the published card, 0 to 100."""

SCRIPT = """
import argparse
from mteb import MTEB
from sentence_transformers import SentenceTransformer

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="acge_text_embedding")
parser.add_argument("--max_len", default=512, type=int)
args = parser.parse_args()
model = SentenceTransformer(args.model).half()
model.max_seq_length = args.max_len
MTEB(task_langs=["zh"]).run(model)
"""


def fenced(code: str, language: str = "python") -> str:
    return f"\n```{language}\n{code.strip()}\n```\n"


def rows_table(*numbers: int) -> str:
    """The printed rows of these numbers (all of them where none is given), as a Markdown table."""
    rows = read_rows(PUBLISHED / "rows.json")
    lines = [TITLES, ["---"] * len(TITLES)]
    for number in numbers or range(1, len(rows) + 1):
        row = rows[number - 1]
        header = [row.header.model, row.header.gpu, row.header.dtype, row.header.size_gb, row.header.dim, row.header.max_len]
        lines.append([*map(str, header), *(str(row.scores[title]) for title in TITLES[len(HEADER_TITLES) :])])
    return "\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def card_text(
    body: str = "",
    *,
    changes: Mapping[str, Mapping[str, float]] | None = None,
    revisions: Mapping[str, str] | None = None,
    without: tuple[str, ...] = (),
    decimals: int | None = None,
    brief: bool = False,
) -> str:
    """A card with the published numbers but for `changes`, `revisions` and the tasks `without`; numbers rounded to `decimals`.

    `brief`: no more metrics than the averages need, which is read ten times as fast.
    """
    results = []
    for task in BENCHMARK.tasks:
        if task.name in without:
            continue
        metrics = {**METRICS[task.name], **(changes or {}).get(task.name, {})}
        if brief:
            metrics = {name: value for name, value in metrics.items() if name in (task.main.replace(".", "_"), "max_ap")}
        values = {name: value if decimals is None else round(value, decimals) for name, value in metrics.items()}
        revision = (revisions or {}).get(task.name, task.revision)
        dataset = {"type": task.hub, "name": task.card_name, "config": task.config, "split": task.split, "revision": revision}
        entries = [{"type": name, "value": value} for name, value in values.items()]
        results.append({"task": {"type": task.type}, "dataset": dataset, "metrics": entries})
    front = yaml.safe_dump({"model-index": [{"name": "acge_text_embedding", "results": results}]}, sort_keys=False)
    return f"---\n{front}---\n{body}"


def write_card(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def mteb2_file(task: str, metrics: Mapping[str, float], **changes: object) -> str:
    """A result of one task as mteb 2 writes it, as JSON."""
    spec = BENCHMARK.task(task)
    scores = {spec.split: [{"hf_subset": spec.language or "default", **metrics}]}
    result = {"task_name": spec.mteb2_name, "dataset_revision": spec.revision, "mteb_version": "2.1.0", "scores": scores}
    return json.dumps(result | changes)


def index_entry(task: str = "STSB", value: float = 82.5) -> Entry:
    spec = BENCHMARK.task(task)
    dataset = {"type": spec.hub, "name": spec.card_name, "config": spec.config, "split": spec.split, "revision": spec.revision}
    return {"task": {"type": spec.type}, "dataset": dataset, "metrics": [{"type": spec.main.replace(".", "_"), "value": value}]}


def front_matter(text: str) -> dict[str, Any]:
    """The front matter as any YAML parser has it."""
    return yaml.safe_load(re.split(r"^---[ \t]*\r?$", text.lstrip("\ufeff"), maxsplit=2, flags=re.MULTILINE)[1])  # type: ignore[no-any-return]


def index_results(text: str, model: int = 0) -> list[Any]:
    return front_matter(text)["model-index"][model]["results"]  # type: ignore[no-any-return]
