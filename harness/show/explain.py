"""An explanation as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

from harness.read.explain.build import Comparison, Explanation
from harness.read.explain.effects import LEVEL, RESAMPLES, SEED, Effect
from harness.read.explain.pairs import Pair, Subject
from harness.show.explain_words import Block, Grid, Heading, Sentences, blocks
from harness.show.tables import escape_markdown, markdown_table, paragraph, text_table

Format = Literal["text", "md", "json"]


def render(told: Explanation, form: Format) -> str:
    """The explanation in that form."""
    if form == "json":
        return json.dumps(as_json(told), ensure_ascii=False, indent=2)
    return "\n\n".join(_markdown(block) if form == "md" else _text(block) for block in blocks(told))


def as_json(told: Explanation) -> dict[str, Any]:
    """All numbers of the explanation, unrounded."""
    return {
        "benchmark": told.benchmark.name,
        "level": LEVEL,
        "correction": "holm",
        "families": dict(zip(("tasks", "averages"), told.families, strict=True)),
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "subjects": [_subject(subject) for subject in told.subjects],
        "comparisons": [_comparison(comparison) for comparison in told.comparisons],
        "printed": [{**_pair(effect.pair), "differences": effect.differences, "shares": effect.shares} for effect in told.printed],
        "unattributed": [_pair(pair) for pair in told.unattributed],
        "conventions": [
            {"subject": each.subject.number, "convention": each.convention, "tasks": each.tasks, "values": each.values}
            for each in told.definitions
        ],
    }


def _subject(subject: Subject) -> dict[str, Any]:
    told = {name: getattr(subject.header, name) for name in ("model", "gpu", "dtype", "dim", "max_len")}
    where = subject.run.path if subject.run else subject.row.path if subject.row else None
    return {"number": subject.number, **told, "path": str(where), "printed_only": subject.run is None}


def _pair(pair: Pair) -> dict[str, Any]:
    factors = [{"name": factor.name, "before": factor.before, "after": factor.after} for factor in pair.factors]
    return {"before": pair.before.number, "after": pair.after.number, "factors": factors, "beside": list(pair.beside)}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        **_pair(comparison.pair),
        "tasks": [_effect(effect) for effect in comparison.tasks],
        "averages": [_effect(effect) for effect in comparison.averages],
        "moved": {task: [vars(move) for move in moves] for task, moves in comparison.moved.items()},
        "left_out": dict(comparison.left_out),
        "unsure": dict(comparison.unsure),
    }


def _effect(effect: Effect) -> dict[str, Any]:
    interval = effect.interval
    return {
        **{name: value for name, value in vars(effect).items() if name != "freedom"},
        "difference": effect.difference,
        "interval": None if interval is None else list(interval),
    }


def _text(block: Block) -> str:
    match block:
        case Heading(text):
            return f"{text}\n{'-' * min(100, len(text))}"
        case Sentences(lines, listed):
            return "\n".join(paragraph(f"* {line}" if listed else line, indent=2 if listed else 0) for line in lines)
        case Grid(columns, rows):
            return text_table(columns, rows)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {escape_markdown(text)}"
        case Sentences(lines, listed):
            return "\n".join(_escaped(lines, "* " if listed else ""))
        case Grid(columns, rows):
            return markdown_table(columns, rows)


def _escaped(lines: Iterable[str], before: str) -> Iterable[str]:
    return (before + escape_markdown(line) for line in lines)
