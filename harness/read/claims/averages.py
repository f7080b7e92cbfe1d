"""The printed rows against the tasks' numbers: under which convention is which row the front matter, and do the rows add up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.benchmarks import Benchmark
from harness.core.dtypes import DTYPES, dtype_named
from harness.core.formatting import bare_name
from harness.read.cards.page import PrintedRow, score_titles
from harness.read.claims.findings import Check, Finding, check, judged
from harness.read.claims.sheet import Sheet
from harness.read.leaderboard import leaderboard_row, printed, rounded

_EPSILON = 1e-9  # points; a double of 100 has 1.4e-14


@dataclass(frozen=True)
class Fit:
    """A printed row against the front matter's averages under one convention. `points`: the largest difference, printed minus computed, and
    the `column` that has it; `compared`: columns that the front matter has all tasks of.
    """

    compared: int
    column: str
    points: float

    @property
    def equal(self) -> bool:
        """Whether all columns that can be compared are equal to the last printed digit."""
        return self.compared > 0 and self.points == 0


@dataclass(frozen=True, kw_only=True)
class RowMatch:
    """A printed row, numbered from 1, and how well it fits under each convention."""

    number: int
    place: str
    row: PrintedRow
    fits: Mapping[str, Fit]

    @property
    def setting(self) -> str:
        """What the row says was run: `A100 float16 512`."""
        header = self.row.header
        return " ".join(str(each) for each in (header.gpu, header.dtype, header.max_len) if each) or header.model

    @property
    def label(self) -> str:
        """`row 6 (NVIDIA TESLA A100 float16 512)`."""
        return f"row {self.number} ({self.setting})"


@dataclass(frozen=True)
class Averages:
    """`computed`: per convention, the front matter's averages as they would be printed (None: a hole). `front`: the row that it is.

    `own`: the rows that go by the card's model; all rows where none does.
    """

    computed: Mapping[str, Mapping[str, float | None]]
    matches: tuple[RowMatch, ...]
    front: RowMatch | None
    own: tuple[RowMatch, ...]
    usual: str

    @property
    def convention(self) -> str:
        """The first named convention under which the front matter is its row, ties as C_MTEB rounds them if one can; else the usual one."""
        if self.front is None:
            return self.usual
        equal = [name for name, fit in self.front.fits.items() if fit.equal]
        scores = self.front.row.scores
        strict = [name for name in equal if all(value in (None, scores[title]) for title, value in self.computed[name].items())]
        return next(iter(strict or equal), self.usual)


def averages(sheet: Sheet, benchmark: Benchmark) -> Averages:
    """The averages of the claims under every convention that takes all tasks, and the printed rows beside them."""
    titles = score_titles(benchmark.tasks)
    names = [name for name, rule in benchmark.conventions.items() if not rule.without]
    rows = {name: [c for c in leaderboard_row(sheet.run, name, benchmark).cells if c.key in titles] for name in names}
    computed = {name: {titles[c.key]: None if c.value is None else rounded(c.value) for c in cells} for name, cells in rows.items()}
    means = {name: {titles[c.key]: c.mean for c in cells if c.mean is not None} for name, cells in rows.items()}
    matches = tuple(
        RowMatch(number=number, place=place, row=row, fits={name: _fit(row, means[name]) for name in names})
        for number, (row, place) in enumerate(zip(sheet.rows, sheet.places, strict=True), start=1)
    )
    own = tuple(match for match in matches if bare_name(match.row.header.model) == bare_name(sheet.model)) or matches
    fitting = [match for match in own if any(fit.equal for fit in match.fits.values())]
    return Averages(computed, matches, fitting[0] if len(fitting) == 1 else None, own, benchmark.usual)


def average_checks(found: Averages, benchmark: Benchmark) -> list[Check]:
    """All checks of the printed rows."""
    sizes = list(_sizes(found))
    return [
        check("rows", "one printed row is the average of the front matter", _front_matter(found)),
        check("sums", "the type averages of a row, weighted, are its Average", _sums(found, benchmark)),
        *([check("sizes", "rows of wider numbers are larger", sizes)] if sizes else []),
    ]


def _fit(row: PrintedRow, means: Mapping[str, float]) -> Fit:
    """A mean that lies between two numbers of so many digits (76.495) may be printed as either."""
    half = half_digit(row)
    exact = {title: row.scores[title] - mean for title, mean in means.items()}
    differences = {title: 0.0 if abs(points) <= half + _EPSILON else rounded(points) for title, points in exact.items()}
    worst = max(differences, key=lambda title: abs(differences[title]), default="")
    return Fit(len(differences), worst, differences.get(worst, 0.0))


def half_digit(row: PrintedRow) -> float:
    """Half a unit of the last digit that the row is printed with, in points: two decimals as a rule, fewer in some cards."""
    decimals = max(len(str(value).partition(".")[2].rstrip("0")) for value in row.scores.values())
    return 0.5 * 10.0 ** -min(2, decimals)


def _front_matter(found: Averages) -> Iterator[Finding]:
    match = found.front
    if match is None:
        yield _no_front(found)
        return
    equal = [name for name, fit in match.fits.items() if fit.equal]
    yield Finding("holds", match.place, "")
    if len(equal) > 1:
        yield Finding("noted", match.place, f"{match.label} is the front matter under {' and '.join(equal)}: the card does not say which")
    for name, fit in match.fits.items():
        if fit.compared and not fit.equal:
            other = printed(found.computed[name][fit.column])
            yield Finding("noted", match.place, f"not under {name}: that would print {other} for {fit.column}")
    if any(fit.compared < len(match.row.scores) for fit in match.fits.values()):
        yield Finding("noted", match.place, "the front matter lacks tasks: only some columns could be compared")


def _no_front(found: Averages) -> Finding:
    if not found.matches:
        return Finding("can't tell", "card", "there is no table of averages to compare with")
    equal = [match.label for match in found.own if any(fit.equal for fit in match.fits.values())]
    if equal:
        return Finding("can't tell", "table", f"{', '.join(equal)} are all equal to the front matter")
    fits = [(match, name, fit) for match in found.own for name, fit in match.fits.items() if fit.compared]
    if not fits:
        return Finding("can't tell", "table", "the front matter has no complete type of tasks to average")
    match, name, fit = min(fits, key=lambda each: abs(each[2].points))
    text = f"no printed row is the average of the front matter; nearest is {match.label}, {fit.points:+.2f} in {fit.column} under {name}"
    return Finding("contradicts", match.place, text)


def _sums(found: Averages, benchmark: Benchmark) -> Iterator[Finding]:
    """The type averages, weighted with their tasks, against the printed average: rounding alone can make a difference of 0.01."""
    titles = score_titles(benchmark.tasks)
    counts = {title: sum(task.type == kind for task in benchmark.tasks) for kind, title in titles.items() if kind != "Average"}
    for match in found.matches:
        scores = match.row.scores
        average = scores[titles["Average"]]
        mean = sum(count * scores[title] for title, count in counts.items()) / sum(counts.values())
        text = f"{match.label} prints {titles['Average']} {average}; its types make {mean:.3f}"
        yield judged(abs(mean - average) <= 2 * half_digit(match.row) + _EPSILON, match.place, text)


def _sizes(found: Averages) -> Iterator[Finding]:
    """A float32 model takes twice the bytes of a half one; where all rows print one size it is that of the file."""
    named = [(name, match.row.header.size_gb) for match in found.matches if (name := dtype_named(match.row.header.dtype))]
    sizes = {width: {size for name, size in named if DTYPES[name].bytes == width} for width in (2, 4)}
    if sizes[2] and sizes[2] == sizes[4] and len(sizes[2]) == 1 and None not in sizes[2]:
        text = f"{sizes[2].pop()} GB in rows of 2 and of 4 bytes per parameter: the size of the file, not of the weights as they ran"
        yield Finding("noted", "table", text)


def listed(matches: Sequence[RowMatch]) -> str:
    """`rows 1, 2 and 4`."""
    *head, last = (str(match.number) for match in matches)
    return f"rows {', '.join(head)} and {last}" if head else f"row {last}"
