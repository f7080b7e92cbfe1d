"""What is shown during a run: numbers by hand with the test's own clock, and a real run on a terminal of 80 columns."""

from __future__ import annotations

import io
import multiprocessing
import re
from pathlib import Path

import pytest
from records import run_here
from rich.console import Console

from harness.core.benchmarks import load_benchmark
from harness.core.tasks import TaskSpec
from harness.evaluate.encode.encoder import EncodingStep
from harness.evaluate.progress import Estimate, Silent, WindowPart
from harness.show.live import Lines, Live, show_progress
from harness.show.terminal import highlighted

BENCHMARK = load_benchmark()
STSB, AFQMC, TNEWS = (BENCHMARK.task(name) for name in ("STSB", "AFQMC", "TNews"))


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(done: int, planned: int, *, tokens: int = 0, read: int = 0, texts: int = 100, found: int = 0) -> EncodingStep:
    return EncodingStep(texts=texts, read=read, found=found, tokens=tokens, done=done, planned=planned)


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system="standard")


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown(live: Live, width: int = 80) -> list[str]:
    """What the view shows at this moment, line by line, without its colours."""
    console = terminal(width)
    console.print(live.render())
    return re.sub(r"\x1b\[[0-9;]*m", "", written(console)).splitlines()


def test_the_share_of_a_part_by_hand() -> None:
    part = WindowPart(STSB, 10, 30)
    assert [part.share(read) for read in (0, 10, 20, 30, 99)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    nothing_of_its_own = WindowPart(AFQMC, 30, 30)
    assert [nothing_of_its_own.share(read) for read in (29, 30)] == [0.0, 1.0]


def test_the_estimate_is_the_modelled_one_until_something_is_measured() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    estimate.expect({"STSB": 300.0, "TNews": 100.0}, rate=10.0)
    assert (estimate.done, estimate.total, estimate.seconds_left) == (0, 400, 40)
    assert estimate.tokens_per_second is None


def test_what_was_read_corrects_what_is_ahead_and_the_measured_rate_the_expected_one() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    estimate.expect({"STSB": 300.0, "TNews": 100.0}, rate=1000.0)
    window = [WindowPart(STSB, 0, 100)]
    estimate.update(window, step(0, 600))
    assert estimate.total == 600 + 200  # STSB is twice what was modelled, so TNews will be
    clock.now += 10
    estimate.update(window, step(200, 600, tokens=50))
    assert estimate.tokens_per_second == 5
    assert estimate.seconds_left == (800 - 200) / 20
    clock.now += 20
    estimate.update(window, step(600, 600, tokens=150))
    estimate.update([WindowPart(TNEWS, 0, 100)], step(0, 150))
    assert (estimate.done, estimate.total) == (600, 750)


def test_an_estimate_of_nothing_known_is_none_and_a_dropped_task_is_not_waited_for() -> None:
    estimate = Estimate(Clock())
    estimate.expect({"STSB": 300.0, "TNews": 100.0}, rate=None)
    assert estimate.seconds_left is None
    estimate.drop("TNews")
    assert estimate.total == 300


def test_the_view_fits_80_columns_and_shows_tasks_rate_eta_and_hits() -> None:
    clock = Clock()
    live = Live(terminal(), clock=clock)
    tasks: list[TaskSpec] = list(BENCHMARK.tasks)
    live.plan(tasks[1:], tasks[:1])
    live.expected({task.name: 1e15 for task in tasks[1:]}, None)
    assert "1/35 tasks" in "\n".join(shown(live))
    window = [WindowPart(task, 100 * number, 100 * number + 100) for number, task in enumerate(tasks[1:])]
    live.encoded(window, step(0, 34 * 10**15, texts=3400))
    clock.now += 5000
    live.encoded(window, step(17 * 10**15, 34 * 10**15, tokens=123_456_789, read=250, texts=3400, found=77))
    live.scoring(tasks[1])
    clock.now += 3
    message = shown(live)
    assert max(map(len, message)) <= 80
    assert message[0].split()[0] == tasks[1].name
    assert "scoring 3 s" in message[0]
    assert any("50 % read" in line for line in message)
    assert "and 26 more" in message[-3]
    assert "24,691 tokens/s" in message[-2]
    assert "eta 1 h 23 m" in message[-2]
    assert "50 %" in message[-2]
    assert message[-1] == "250 of 3,400 texts read, 77 of them found in the store"


def test_a_finished_task_is_a_line_and_a_failed_one_is_red_unless_no_colour_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, red in ((None, True), ("NO_COLOR", False)):
        if variable:
            monkeypatch.setenv(variable, "1")
        console = terminal()
        live = Live(console)
        live.plan([STSB, AFQMC], [])
        live.finished(STSB, score=0.378, error=None)
        live.finished(AFQMC, score=None, error="[bold]no data[/bold]")
        first, second = written(console).splitlines()
        assert first == f"{'STSB':<30}   37.80"
        assert ("\x1b[31m" in second) is red
        assert "failed: [bold]no data[/bold]" in second


def test_a_log_has_a_line_a_minute_with_what_the_view_says() -> None:
    clock, console = Clock(), Console(file=io.StringIO(), width=80)
    lines = Lines(console, "dtype=fp16 tasks=[STS]", clock=clock)
    lines.plan([STSB, AFQMC], [TNEWS])
    lines.expected({"STSB": 100.0, "AFQMC": 100.0}, None)
    window = [WindowPart(STSB, 0, 100), WindowPart(AFQMC, 100, 200)]
    lines.loading(STSB)
    lines.encoded(window, step(0, 200))
    clock.now += 59.5
    lines.encoded(window, step(40, 200, tokens=5_950))
    assert written(console) == ""
    clock.now += 1
    lines.encoded(window, step(50, 200, tokens=6_050))
    lines.encoded(window, step(60, 200, tokens=7_000))
    clock.now += 200
    lines.finished(STSB, score=None, error="no data")
    first, second = written(console).splitlines()
    read = "0 of 100 texts read, 0 of them found in the store"
    assert first == f"dtype=fp16 tasks=[STS]: 25 %, 1/3 tasks, 1:00, 100 tokens/s, eta 3:02, {read}"
    assert second.startswith("dtype=fp16 tasks=[STS]: 30 %, 2/3 tasks, 1 failed, 4:20")


def test_a_log_has_no_share_where_all_vectors_are_in_the_store() -> None:
    clock, console = Clock(), Console(file=io.StringIO(), width=80)
    lines = Lines(console, clock=clock)
    lines.plan([STSB], [])
    lines.loading(STSB)
    clock.now += 61
    lines.encoded([WindowPart(STSB, 0, 100)], step(0, 0, read=100, found=100))
    assert written(console) == "0/1 tasks, 1:01, 100 of 100 texts read, 100 of them found in the store\n"


def test_a_terminal_has_a_view_and_a_log_lines_unless_quiet_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with show_progress("a title") as progress:
        assert isinstance(progress, Lines)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes such a stream for a terminal
    with show_progress("a title", quiet=True) as progress:
        assert isinstance(progress, Silent)
    monkeypatch.setenv("TERM", "dumb")
    with show_progress() as progress:
        assert isinstance(progress, Lines)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        assert isinstance(progress, Live)
    monkeypatch.setattr(multiprocessing.current_process(), "name", "LokyProcess-1")
    with show_progress() as progress:
        assert isinstance(progress, Lines)


def test_a_summary_has_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Task   Score\nSTSB   37.80\nAFQMC  FAILED: no [data]\n-  BQ   37.80\nDRIFT: BQ"
    assert highlighted(text, Console(file=io.StringIO())) == text
    coloured = highlighted(text, terminal())
    assert coloured.count("\x1b[31m") == 3
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in highlighted(text, terminal())


def test_a_real_run_is_shown_to_its_end(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    given = ["model=folder", f"model.path={tiny_model}", "data=local", f"data.root={tiny_data}", "data.verify=label", "gpu=cpu"]
    overrides = [*given, "tasks=[STSB,AFQMC]", "canary=off", "store=null", f"results_dir={tmp_path / 'results'}", "max_len=16"]
    console = terminal()
    with Live(console) as live:
        outcome = run_here(overrides, progress=live)
        message = shown(live)
    assert set(outcome.failed) == {"AFQMC"}
    assert "100 % 2/2 tasks, 1 failed" in message[-2]
    assert "encoded" in message[-2]
    assert message[-1] == f"{outcome.cost.encoding.texts} of {outcome.cost.encoding.texts} texts read, 0 of them found in the store"
    assert re.search(r"STSB +-?\d", written(console))
    assert re.search(r"AFQMC +failed: no folder", written(console))
