"""docs/extending.md, executed from top to bottom outside of the package: every seam is plugged into, and one run uses all of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from runs import ROOT

from harness.core.benchmarks import load_benchmark
from harness.core.errors import RequestError
from harness.data.sources import SOURCES
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.score.scorer import SCORERS
from harness.show.form import REPORTERS

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SEAMS = {"letters": ENCODERS, "weather": SOURCES, "dot": SCORERS, "slack": REPORTERS}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the page's code leaves behind, and what it printed."""
    printed: list[str] = []
    found: dict[str, Any] = {"print": printed.append}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("outside"))
        for block in blocks("python"):
            exec(compile(block, "docs/extending.md", "exec"), found)
        yield {**found, "printed": printed}
    for name, seam in SEAMS.items():
        seam.unregister(name)  # type: ignore[attr-defined]


def test_one_run_uses_all_that_was_plugged_in(names: Any) -> None:
    run = names["run"]
    assert (set(run.records), run.failed) == ({"STSB"}, {})
    record = run.records["STSB"]
    assert record.metrics == {"cos_sim": {"spearman": pytest.approx(0.5)}}
    assert (record.made.data.source, record.made.data.verdict) == ("weather", "not C-MTEB")
    assert run.manifest.model.digest == "letters 1"
    assert any("letters" in note for note in run.header.notes)
    assert names["printed"][0].startswith("```\n")


def test_the_seams_of_the_page_are_those_of_the_package(names: Any) -> None:
    for name, seam in SEAMS.items():
        assert name in seam.names()
        assert f"harness.{seam.name}" in PAGE
        with pytest.raises(RequestError, match="is taken"):
            seam.register(name, object())  # type: ignore[arg-type]


@pytest.mark.parametrize("text", blocks("yaml"), ids=lambda text: yaml.safe_load(text)["name"])
def test_the_benchmarks_of_the_page_are_benchmarks(text: str, tmp_path: Any) -> None:
    path = tmp_path / f"{yaml.safe_load(text)['name']}.yaml"
    path.write_text(text, encoding="utf-8")
    assert [task.name for task in load_benchmark(str(path)).tasks] == yaml.safe_load(text)["tasks"]
