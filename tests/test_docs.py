"""Every command that a page shows is run: on the embedded sample where the page means a model, data or a GPU that is not at hand.

`make` targets are asked for with `-n`, since this test is itself run by one of them; of benchmarks, which take up to an hour, the script
and its options must be there (tests/test_benchmarks.py runs them in small).
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cards import card_text
from runs import BENCHMARK, ROOT

from harness.commands import main
from harness.core.resources import SAMPLE_DIR
from harness.core.tasks import TASK_TYPES
from harness.read.cards.headings import Headings, average_columns
from harness.read.cards.markdown import Table, markdown_tables

PAGES = [
    *(ROOT / name for name in ("README.md", "README_zh.md", "results/README.md", "harness/sample/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results" / "published").rglob("README.md")),
]
PYTHON = r"(?:\.venv/bin/)?python "
START = rf"(?:{PYTHON}-m harness|make|(?:{PYTHON})?(?:scripts|benchmarks)/\w|{PYTHON}-m pytest)\b"
TARGETS_THAT_ARE_WORDS = ("make it", "make the", "make an", "make a", "make ...")
SAMPLE = ("model=sample", "data=sample", "gpu=cpu")
NEEDS_A_HUB = ("fetch", "lock")
NEEDS_A_CLUSTER = {"hydra/launcher=slurm", "hydra/launcher=ray"}  # tests/test_slurm.py and tests/test_ray.py start one
DRIFT_IS_AN_ANSWER = ("claims", "check")
ALREADY_RUN: set[tuple[str, ...]] = set()  # several pages show the same


def shown_commands(page: Path) -> list[str]:
    """The commands in code, whether in a block or in a line of text, each once; a line that ends in a backslash goes on in the next."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```.*?^```", text, flags=re.MULTILINE | re.DOTALL) + re.findall(r"^(?: {4}.*\n)+", text, flags=re.MULTILINE)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = [part.strip() for line in [*lines, *inline] for part in line.split(" && ") if re.match(START, part.strip())]
    return list(dict.fromkeys(" ".join(command.split()) for command in found if not command.startswith(TARGETS_THAT_ARE_WORDS)))


SHOWN = {page.relative_to(ROOT).as_posix(): shown_commands(page) for page in PAGES}


def test_commands_are_found_in_blocks_and_in_text() -> None:
    assert {"make reproduce", "python -m harness run gpu=a100 dtype=fp16 max_len=512"} <= set(SHOWN["README.md"])
    assert sum(map(len, SHOWN.values())) > 40


PATH_IN_TEXT = r"(?<![\w./-])(?:harness|configs|docs|tests|scripts|benchmarks)/[\w./-]*\w"
LINK = r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)"
LINKING = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "tests/README.md", "CHANGELOG.md"))]


def heading_anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", re.sub(r"\]\([^)]*\)", "]", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> list[str]:
    """The relative links of a page whose file or whose heading does not exist."""
    dead = []
    for path, anchor in re.findall(LINK, page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in heading_anchors(target)):
            dead.append(f"{path}#{anchor}" if anchor else path)
    return dead


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_and_link_of_a_page_exists(page: Path) -> None:
    assert dead_links(page) == []
    if page.name != "CHANGELOG.md":  # it names files that are gone
        paths = {ROOT / path for path in re.findall(PATH_IN_TEXT, page.read_text(encoding="utf-8"))}
        assert sorted(path.as_posix() for path in paths if not path.exists()) == []


def test_both_languages_have_the_same_sections_commands_links_and_numbers() -> None:
    pages = [ROOT / name for name in ("README.md", "README_zh.md")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert shown_commands(pages[0]) == shown_commands(pages[1])
    links = [[link for link in re.findall(LINK, text) if not link[0].startswith("README")] for text in texts]
    assert sorted(links[0]) == sorted(links[1])
    for kind in (r"^#+ ", r"^\| .*$", r"\d+\.\d+"):  # headings, rows of tables, decimal numbers
        assert len(re.findall(kind, texts[0], flags=re.MULTILINE)) == len(re.findall(kind, texts[1], flags=re.MULTILINE)), kind


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Two words: `code`, and [a link](x)\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](gone.md) [c](other.md#two-words-code-and-a-link) [d](other.md#no-heading) [e](#nowhere) [f](https://x.y)"
    )
    assert dead_links(page) == ["gone.md", "other.md#no-heading", "#nowhere"]


def test_the_headings_that_the_page_on_cards_lists_are_understood() -> None:
    table = next(each for each in markdown_tables((ROOT / "docs" / "cards.md").read_text(encoding="utf-8")) if each.head[0] == "average")
    listed = {key: [word.strip("` ") for word in words.split(", ")] for key, words in table.rows}
    assert set(listed) == {"Average", *TASK_TYPES}
    first = {key: words[0] for key, words in listed.items()}
    for key, words in listed.items():
        for word in words:
            row = Table(1, tuple((first | {key: word}).values()), (), ())
            found = average_columns(row, BENCHMARK.tasks)
            assert isinstance(found, Headings), (key, word, found)
            assert list(found.places) == list(first), (key, word)


@dataclass(frozen=True)
class Place:
    """A working folder with what pages speak of. `run`: calibrated; `again`: the same run elsewhere; `other`: of another dimension."""

    folder: Path
    run: str
    again: str
    other: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    here = tmp_path_factory.mktemp("pages") / "work"
    shutil.copytree(ROOT / "results" / "published", here / "results" / "published")
    (here / "README.md").write_text(card_text(brief=True), encoding="utf-8")
    shutil.copy(here / "README.md", here / "CARD.md")
    (here / "mine.yaml").write_text("name: mine\ntasks: [STSB, Ocnli]\n", encoding="utf-8")
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for results, dim in (("results", "full"), ("again", "full"), ("results", "256")):
            asked = [*SAMPLE, "tasks=[AFQMC,JDReview]", f"dim={dim.replace('full', 'null')}", f"results_dir={results}"]
            assert main(["run", *asked, "--quiet"]) == 0
            folders.append(str(next((here / results / "sample").glob(f"*_dim{dim}-*"))))
        assert main(["calibrate", folders[0], "--draws", "5"]) == 0
        for folder, name in (("exported", "aspire/acge_text_embedding"), ("listed", "BAAI/bge-large-zh-v1.5")):
            assert main(["export", "mteb", "results/published/acge_text_embedding", "-o", folder, "--name", name]) == 0
    shutil.copytree(SAMPLE_DIR / "data", here / "data")  # a run leaves checksums there
    return Place(here, *folders)


def adapted(command: str, place: Place) -> list[str]:
    """The arguments of `python -m harness`, with what is at hand in the place of what the page only names."""
    words = shlex.split(re.sub(r"(?<= )\[([^\]]+)\]", r"\1", command), comments=True)  # [--tasks]: shown as optional
    words = words[words.index("harness") + 1 :]
    name = words[0]
    run = place.run
    if name in ("claims", "export"):  # what a card has is compared with, and leaves as, scores of the benchmark itself
        run = "results/published/acge_text_embedding"
    stand_ins = [
        (r"^(model\.path=)DIR$", rf"\g<1>{SAMPLE_DIR / 'model'}"),
        (r"^(data\.root=)DIR$", rf"\g<1>{'mirror' if name == 'fetch' else 'data'}"),
        (r"^(BASELINE|results/baselines/MODEL)$", run),
        (r"^(RUN|results/RUN|results/MODEL/RUN|results/(?!published)\w+/\w+_len\d+_dim\w+-\w+)$", place.again if name == "check" else run),
        (r"^CANDIDATE$", place.again),
        (r"^OTHER$", place.other),
        (r"^\.\./results/\S+$", str(next((place.folder / "exported").rglob("TNews.json")).parent)),
        (r"^PATH(\.\.\.)?$", "results"),
        (r"^(DIR|FILE)$", "made"),
        (r"^N$", "3"),
        (r"^NAME$", "bge-large-zh-v1.5"),
        (r"^(results\.path=)DIR$", r"\g<1>listed"),
        (r"^(\w+)\|[\w|]+$", r"\1"),  # text|md|json: the first
        (r"^KEY=VALUE$", ""),
    ]
    for pattern, instead in stand_ins:
        words = [re.sub(pattern, instead, word) for word in words]
    words = [word for number, word in enumerate(words) if word and (word != "..." or words[number - 1] == "--why")]
    if name == "explain" and words.count(run) > 1:
        words = [name, run, place.other, *(word for word in words[1:] if word != run)]
    if name == "table" and "--against" in words:
        words[words.index("--against") + 1] = "results/published/acge_text_embedding"
    if name == "score":
        words += ["results_dir=live", "--tasks", "AFQMC"]  # of another benchmark than all that lies in results
    if name == "calibrate":
        words += ["--draws", "5", "--tasks", "AFQMC,JDReview"]
    if name == "baseline" and "accept" in words:  # of all tasks of the benchmark, where they are not named
        words = [*words[: words.index("--tasks") if "--tasks" in words else None], "--tasks", "AFQMC,JDReview"]
    return [name, *_overrides(words)] if name in ("run", "sweep", "encode", "plan", "reproduce", "doctor") else words


def _overrides(words: list[str]) -> list[str]:
    options = [word for word in words[1:] if word.startswith("--")]
    pairs = dict(word.split("=", 1) for word in words[1:] if "=" in word and not word.startswith("--"))
    if words[0] in ("run", "sweep", "encode") or pairs:
        local = pairs.get("data") == "local"
        pairs |= {"tasks": "[AFQMC]"} if pairs.get("benchmark", "cmn_v1") == "cmn_v1" else {}
        pairs |= {"gpu.mismatch": "warn", "data": "local" if local else "sample"}
        pairs |= {"data.verify": "label"} if local else {}
        if pairs.get("model.kind") == "endpoint":  # tests/test_endpoint.py has a server
            pairs = {key: value for key, value in pairs.items() if not key.startswith("model")}
        pairs["model"] = pairs.get("model", "sample") if pairs.get("model") in ("minilm", "folder") else "sample"
        if "gpu" in pairs:  # a GPU's batches are too large for a CPU
            pairs["gpu.batch_tokens"] = "512"
        if pairs["model"] == "minilm" or words[0] == "sweep":  # checks of 256 texts (tests/test_canary.py) take longer than all else
            pairs["canary"] = "off"
    return [*(f"{key}={value}" for key, value in pairs.items()), *options]


@pytest.mark.parametrize("page", [page for page, commands in SHOWN.items() if commands])
def test_the_commands_of_a_page_run_in_their_order(
    page: str, place: Place, capsys: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    for command in SHOWN[page]:
        with subtests.test(command), pytest.MonkeyPatch.context() as patch:
            _runs(command, place, patch, capsys)


def _runs(command: str, place: Place, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if command.startswith("make"):
        done = subprocess.run(
            ["make", "-n", *shlex.split(command, comments=True)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return
    if " -m harness" not in command:
        _script_is_there(command)
        return
    patch.chdir(place.folder)
    patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    arguments = adapted(command, place)
    if NEEDS_A_CLUSTER & set(arguments):
        patch.setenv("PATH", "/nonexistent")
        code, error = main(arguments), capsys.readouterr().err
        wanted = {1: "Run this on a login node of the cluster", 2: "needs an extra, in an environment of its own"}
        assert wanted[code] in error
        return
    if tuple(arguments) in ALREADY_RUN:
        return
    ALREADY_RUN.add(tuple(arguments))
    code = main(arguments)
    printed = capsys.readouterr()
    if arguments[0] in NEEDS_A_HUB:
        assert (code, "hub" in printed.err + printed.out) == (1, True), printed.err
    else:
        assert code in ((0, 3) if arguments[0] in DRIFT_IS_AN_ANSWER else (0,)), f"{arguments}\n{printed.err}"
    assert printed.out + printed.err


def _script_is_there(command: str) -> None:
    script, *words = shlex.split(re.sub(rf"^{PYTHON}(-m pytest )?", "", command), comments=True)
    assert (ROOT / script).is_file(), f"{command}: there is no {script}"
    options = [word for word in words if word.startswith("-")]
    if options and not script.startswith("tests/"):
        usage = subprocess.run([sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, check=True).stdout
        assert [option for option in options if option not in usage] == []
