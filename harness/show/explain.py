"""An explanation: its sentences, its tables and its plain values."""

from collections.abc import Iterator, Sequence
from typing import Any

from harness.core.formatting import amount, grouped
from harness.core.tasks import TYPES
from harness.read.explain.averages import PLAIN, ROUNDING, Defined, PrintedEffect, never_varied, span
from harness.read.explain.build import Comparison, Explanation
from harness.read.explain.effects import LEVEL, MEAN, POWER, RESAMPLES, SEED, Effect
from harness.read.explain.pairs import Pair, Subject
from harness.read.leaderboard import printed
from harness.show.form import Block, Column, Document, Heading, Sentences, grid, number_columns, table_columns, type_columns


def explanation_document(explanation: Explanation) -> Document:
    """The whole explanation, in the order in which it is read."""
    return Document(blocks=lambda: _blocks(explanation), data=lambda: _values(explanation))


def _blocks(explanation: Explanation) -> Iterator[Block]:
    yield Heading("What is compared")
    places = ((each, f"in {each.run.path}" if each.run else "as printed") for each in explanation.subjects)
    yield Sentences(tuple(f"[{each.number}] {each.header.text}, {where}" for each, where in places), "list")
    if explanation.unreadable:
        yield Sentences(tuple(f"left out: {message}" for message in explanation.unreadable), "list")
    if len(explanation.comparisons) > 1:
        yield Heading("Summary: a line per pair; a pair that is identical in every task has no table below")
        yield grid(_SUMMARY_COLUMNS, map(_summary, explanation.comparisons))
    for comparison in explanation.comparisons:
        if len(explanation.comparisons) == 1 or not _only_identical(comparison):
            yield from _comparison(comparison)
    if explanation.printed_subjects:
        yield from _printed(explanation)
    if explanation.unattributed:
        yield Heading("Not attributed")
        yield Sentences(("These differ in several settings, so a difference in score can't be put down to one:",))
        factors = ((pair, ", ".join(factor.name for factor in pair.factors)) for pair in explanation.unattributed)
        yield Sentences(tuple(f"[{pair.before.number}] and [{pair.after.number}]: {names}" for pair, names in factors), "list")
    if explanation.definitions:
        yield from _definitions(explanation)
    yield Heading("How to read this")
    yield Sentences(tuple(_legend(explanation)), "list")


def pair_title(pair: Pair) -> str:
    """The factor and the two numbers: `dim 384 -> 128 ([1] -> [2])`."""
    what = str(pair.factors[0]) if pair.factors else "repetition, no setting differs"
    return f"{what} ([{pair.before.number}] -> [{pair.after.number}])"


def points(value: float, error: float | None, *, sign: bool = True) -> str:
    """Points with as many decimals, two to four, as the error leaves of them."""
    decimals = 2 if error is None or not 0 < error < 0.02 else 3 if error >= 0.002 else 4
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    return text.replace("-", "+") if text.startswith("-") and not float(text) else text


def _only_identical(comparison: Comparison) -> bool:
    """Whether the line of the summary says everything."""
    verdicts = {effect.verdict for effect in comparison.tasks}
    return verdicts == {"identical"} and not (comparison.left_out or comparison.unsure or comparison.pair.beside)


def _comparison(comparison: Comparison) -> Iterator[Block]:
    pair = comparison.pair
    yield Heading(pair_title(pair))
    effects = [*comparison.averages, *comparison.tasks]
    if not effects:
        yield Sentences(("no task was scored in both runs",))
    else:
        yield grid(_COLUMNS, map(_row, effects))
        yield Sentences(tuple(_findings(pair, effects)), "list")
    notes = [*(f"{task}: not compared, {why}" for task, why in comparison.left_out.items())]
    notes += [f"{task}: no interval, {why}" for task, why in comparison.unsure.items()]
    notes += [f"also differs: {each}" for each in pair.beside]
    if notes:
        yield Sentences(tuple(notes), "list")
    rows = [row for task in comparison.moved for row in _moved(task, comparison)]
    if rows:
        yield Heading(f"Examples that {pair.factors[0].name if pair.factors else 'the repetition'} moved most")
        yield grid(_MOVED_COLUMNS, rows)


_COLUMNS = table_columns(
    *(Column("Of", shrinks_to=16), Column("Metric", shrinks_to=10), *number_columns("Examples", "Before", "After")),
    Column("Difference", "Diff", numeric=True),
    *("95 % interval", "Verdict"),
)
_MOVED_COLUMNS = table_columns(
    *(Column("Task", shrinks_to=12), "Example", Column("Measure", shrinks_to=12)),
    *number_columns("Before", "After"),
    Column("About", shrinks_to=20),
)


def _row(effect: Effect) -> tuple[str, ...]:
    interval = effect.interval
    between = " to ".join(points(end, effect.error) for end in interval) if interval else ""
    verdict = effect.verdict if effect.verdict != "effect" else "up" if effect.difference > 0 else "down"
    units = amount(effect.units, TYPES[effect.type].unit if effect.type and effect.metric != MEAN else "task")
    scores = (points(score, effect.error, sign=False) for score in (effect.before, effect.after))
    return (_name(effect), effect.metric, units if effect.units else "", *scores, points(effect.difference, effect.error), between, verdict)


_SUMMARY_COLUMNS = table_columns(
    *(Column("What differs", shrinks_to=24), "Runs"),
    *number_columns("Tasks", "Up", "Down", "None found", "Identical", "No interval"),
    "Mean of all",
)


def _summary(comparison: Comparison) -> tuple[str, ...]:
    """How many tasks moved which way, and the mean over all of them."""
    pair, tasks = comparison.pair, comparison.tasks
    effects = [effect.difference > 0 for effect in tasks if effect.verdict == "effect"]
    others = (sum(effect.verdict == verdict for effect in tasks) for verdict in ("none found", "identical", "no interval"))
    counts = (len(tasks), sum(effects), len(effects) - sum(effects), *others)
    mean = next((points(each.difference, each.error) for each in comparison.averages), "")
    what = str(pair.factors[0]) if pair.factors else "repetition"
    return (what, f"[{pair.before.number}] -> [{pair.after.number}]", *map(str, counts), mean)


def _name(effect: Effect) -> str:
    return effect.of if effect.metric != MEAN else f"{effect.type or 'all'}, {effect.units} tasks"


def _findings(pair: Pair, effects: Sequence[Effect]) -> Iterator[str]:
    """A sentence per real effect, then one for what was not found, one for what did not move, one for what can't be known."""
    what = str(pair.factors[0]) if pair.factors else "the repetition"
    for effect in effects:
        if effect.verdict == "effect" and effect.interval:
            low, high = (points(end, effect.error) for end in effect.interval)
            scores = [points(score, effect.error, sign=False) for score in (effect.before, effect.after)]
            yield (
                f"{_name(effect)}: {what} takes {'the mean' if effect.metric == MEAN else effect.metric} from {scores[0]} to {scores[1]}, "
                f"by {points(effect.difference, effect.error)} points (95 % interval {low} to {high})."
            )
    missed = [
        f"{_name(effect)} ({points(effect.unseen, effect.error, sign=False)})"
        for effect in effects
        if effect.verdict == "none found" and effect.unseen is not None
    ]
    if missed:
        yield f"No effect found, and one smaller than the points in brackets would not be seen: {', '.join(missed)}."
    same = [_name(effect) for effect in effects if effect.verdict == "identical"]
    if same:
        yield f"The same score on every example and every resample: {', '.join(same)}."
    bare = [_name(effect) for effect in effects if effect.verdict == "no interval"]
    if bare:
        yield f"Difference without an interval: {', '.join(bare)}."


def _moved(task: str, comparison: Comparison) -> list[tuple[str, ...]]:
    """A line of the table per example of the task."""
    unit = next(TYPES[effect.type].unit for effect in comparison.tasks if effect.of == task and effect.type)
    return [
        (task, f"{unit} {move.index} ({move.key})", move.measure, _value(move.before), _value(move.after), move.about)
        for move in comparison.moved[task]
    ]


def _value(value: float) -> str:
    return f"{value:g}" if value >= 1 else f"{value:.4g}"


def _printed(explanation: Explanation) -> Iterator[Block]:
    yield Heading("Rows known only as printed")
    titles = ["Average", *(key for key in (explanation.printed[0].differences if explanation.printed else {}) if key != "Average")]
    if explanation.printed:
        columns = table_columns("Rows", Column("Setting", shrinks_to=24), *type_columns(titles))
        rows = [
            (
                f"[{effect.pair.before.number}] -> [{effect.pair.after.number}]",
                str(effect.pair.factors[0]) if effect.pair.factors else "none",
                *(f"{effect.differences[key]:+.2f}" for key in titles),
            )
            for effect in explanation.printed
        ]
        yield grid(columns, rows)
    yield Sentences(tuple(f"{pair_title(each.pair)}, at {each.elsewhere}: {_carried(each)}" for each in explanation.printed), "list")
    yield Sentences(tuple(_printed_limits(explanation, *span(explanation.printed_subjects))), "list")


def _carried(effect: PrintedEffect) -> str:
    """The move of the average, and the types that make it."""
    moved = {key: value for key, value in effect.differences.items() if key != "Average" and abs(value) > ROUNDING + 1e-9}
    still = [key for key in effect.differences if key != "Average" and key not in moved]
    average = f"Average {effect.differences['Average']:+.2f}."
    if not moved:
        return f"{average} No type moves by more than its rounding."
    largest = sorted(moved, key=lambda key: -abs(effect.shares[key]))
    parts = [f"{key} {moved[key]:+.2f} ({points(effect.shares[key], None)} of the average)" for key in largest]
    drawn = " and ".join(key for key in largest if key not in TYPES or not TYPES[key].random)
    sure = f" No seed does that to {drawn}, where nothing is drawn at random." if drawn else ""
    rest = f" Within rounding: {', '.join(still)}." if still else ""
    return f"{average} Moved: {'; '.join(parts)}.{sure}{rest}"


def _printed_limits(explanation: Explanation, low: float, high: float) -> Iterator[str]:
    subjects = explanation.printed_subjects
    yield f"All {len(subjects)} rows are within {high - low:.2f} points of each other in Average ({printed(low)} to {printed(high)})."
    for defined in explanation.definitions:
        larger = {part: moved for part, moved in defined.parts.items() if abs(moved) > high - low}
        if larger:
            told_parts = " and ".join(f"{part} {moved:+.2f}" for part, moved in larger.items())
            yield (
                f"A convention moves it further than any setting here: {defined.convention} has {told_parts}, on the same scores "
                f"([{defined.subject.number}])."
            )
    seen = grouped((factor.name, effect.elsewhere) for effect in explanation.printed for factor in effect.pair.factors)
    for name, places in seen.items():
        where = list(dict.fromkeys(places))
        if len(where) == 1:
            yield f"{name} was varied at one setting only ({where[0]}), so its effect elsewhere is not known."
    for name in never_varied(subjects):
        yield f"{name} is the same in all rows ({getattr(subjects[0].header, name)}), so its effect is not known."
    yield (
        f"These are averages without examples, so there is no interval, and nothing is known of other examples. Up to {ROUNDING} is "
        "rounding. What the table does not state (packages, kernels, batch size, data revisions) may differ, too, and no row was repeated."
    )


def _definitions(explanation: Explanation) -> Iterator[Block]:
    yield Heading("Convention, the same scores averaged by other definitions")
    moves = [(defined, _moved_by(defined, explanation)) for defined in explanation.definitions]
    shown = [defined for defined, moved in moves if moved or defined.convention == PLAIN]
    keys = list(dict.fromkeys(key for defined in shown for key in defined.values))
    rows = (
        (f"[{each.subject.number}]", each.convention, str(each.tasks), *(printed(each.values.get(key)) for key in keys)) for each in shown
    )
    yield grid(table_columns("Run", "Convention", *number_columns("Tasks"), *type_columns(keys)), rows)
    lines = []
    for defined, moved in moves:
        if moved:
            steps = " and ".join(f"{part} {points(value, None)}" for part, value in defined.parts.items())
            of_it = f"; of the average {steps}" if steps else ""
            parts = ", ".join(f"{key} {points(value, None)}" for key, value in moved.items())
            lines.append(f"[{defined.subject.number}] {PLAIN} -> {defined.convention}: {parts}{of_it}.")
    if len(shown) < len(moves):
        same = ", ".join(f"[{defined.subject.number}] {defined.convention}" for defined, _ in moves if defined not in shown)
        lines.append(f"No average moves under {same}.")
    lines += [f"{name}: {about}" for name, about in {each.convention: each.about for each in shown}.items()]
    yield Sentences(tuple(lines), "list")


def _moved_by(defined: Defined, explanation: Explanation) -> dict[str, float]:
    """The averages that a convention moves as far as they are printed."""
    plain = next(each for each in explanation.definitions if each.subject is defined.subject and each.convention == PLAIN)
    return {key: value for key, value in defined.moved(plain).items() if abs(value) >= 0.005}


def _legend(explanation: Explanation) -> Iterator[str]:
    if explanation.comparisons:
        tasks, averages = explanation.families
        yield (
            "Both runs are compared on the same examples, in points (0 to 100). Differences are of unrounded scores, so their last digit "
            "may not be that of the two printed scores, which run, table and report show. The 95 % interval says where the difference "
            "would be on other examples of the same kind, under the same protocol and seeds. It does not cover rounding and other seeds: "
            "python -m harness calibrate RUN measures those."
        )
        yield (
            f"up, down: an effect. Over {amount(tasks, 'task')} and {amount(averages, 'average')} Holm's correction keeps the chance of "
            f"one wrong verdict or more at {LEVEL:.0%} each, so an interval that just excludes 0 may have no verdict. An effect of the "
            f"size in brackets would be found {POWER:.0%} of the time."
        )
        yield (
            "Means have Student's paired interval. Spearman and average precision are not means: theirs is that of a bootstrap over "
            f"{RESAMPLES} resamples of the pairs. Averages assume that their tasks are independent."
        )
    if explanation.definitions:
        yield "A convention changes no score, only which scores are averaged and how, so its differences are exact."
    if any(comparison.moved for comparison in explanation.comparisons):
        yield "An example is named by its place in the data, from 0, and the digest of its texts or its query's id; texts are not kept."


def _values(explanation: Explanation) -> dict[str, Any]:
    """All numbers of the explanation, unrounded."""
    return {
        "benchmark": explanation.benchmark.name,
        "level": LEVEL,
        "correction": "holm",
        "families": dict(zip(("tasks", "averages"), explanation.families, strict=True)),
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "unreadable": list(explanation.unreadable),
        "subjects": [_plain_subject(subject) for subject in explanation.subjects],
        "comparisons": [_plain_comparison(comparison) for comparison in explanation.comparisons],
        "printed": [{**_pair(effect.pair), "differences": effect.differences, "shares": effect.shares} for effect in explanation.printed],
        "unattributed": [_pair(pair) for pair in explanation.unattributed],
        "conventions": [
            {"subject": each.subject.number, "convention": each.convention, "tasks": each.tasks, "values": each.values}
            for each in explanation.definitions
        ],
    }


def _plain_subject(subject: Subject) -> dict[str, Any]:
    where = subject.run.path if subject.run else subject.row.path if subject.row else None
    own = {"number": subject.number, "model": subject.header.model, **subject.header.setting}
    return {**own, "path": str(where), "printed_only": subject.run is None}


def _pair(pair: Pair) -> dict[str, Any]:
    factors = [{"name": factor.name, "before": factor.before, "after": factor.after} for factor in pair.factors]
    return {"before": pair.before.number, "after": pair.after.number, "factors": factors, "beside": list(pair.beside)}


def _plain_comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        **_pair(comparison.pair),
        **{name: [_plain_effect(effect) for effect in getattr(comparison, name)] for name in ("tasks", "averages")},
        "moved": {task: [vars(move) for move in moves] for task, moves in comparison.moved.items()},
        **{name: dict(getattr(comparison, name)) for name in ("left_out", "unsure")},
    }


def _plain_effect(effect: Effect) -> dict[str, Any]:
    own = {name: value for name, value in vars(effect).items() if name != "freedom"}
    return {**own, "difference": effect.difference, "interval": list(effect.interval) if effect.interval else None}
