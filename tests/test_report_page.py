"""The page and the other forms of a report: no data can run as code, and every number links to its file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import HOSTILE, NAMES, SAMPLE, Page, calibration, ours, page_of, page_text
from runs import BENCHMARK, BY_HAND, PUBLISHED, ROOT

from harness.commands import main
from harness.core.errors import InputError, RequestError
from harness.core.run_files import MANIFEST, read_run, write_failure
from harness.read.claims.report import claims_report
from harness.read.drift.check import check_folders
from harness.read.explain.build import explain
from harness.show.claims import claims_document
from harness.show.drift import drift_document
from harness.show.explain import explanation_document
from harness.show.form import Document, grid, table_columns, write_document
from harness.show.latex import escape_latex
from harness.show.leaderboard import board
from harness.show.report.charts import write_charts
from harness.show.report.html import report_document
from harness.show.report.report import Report, build_report
from harness.show.report.words import LANGUAGES, PAGE, words
from harness.show.tasks import tasks_document


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Report, Path]:
    """Runs whose every text is an attack, with curves and costs, so that charts carry it, too."""
    for dim in (64, 1792):
        run = ours(tmp_path / f"run {dim}<i>", dim=dim, model=HOSTILE, scores={n: s for n, s in BY_HAND.items() if n != "BQ"})
        manifest = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
        manifest["header"] |= {"notes": [HOSTILE], "gpu": HOSTILE}
        (run / MANIFEST).write_text(json.dumps(manifest | {"versions": {HOSTILE: str(dim)}}), encoding="utf-8")
        write_failure(run, "BQ", kind="E", message=HOSTILE, traceback="")
        (run / "costs.jsonl").write_text(json.dumps({"encoding": {"encode_seconds": 1.0}}) + "\n", encoding="utf-8")
    return build_report([tmp_path], BENCHMARK), tmp_path / "report.html"


def test_text_from_data_is_text_and_nothing_else(hostile: tuple[Report, Path]) -> None:
    report, output = hostile
    text = page_text(report, output)
    page = Page(text)
    assert [tag for tag, _, _ in page.elements].count("script") == 1
    assert [tag for tag, _, _ in page.elements].count("style") == 1
    assert not [(tag, name) for tag, found, _ in page.elements for name in found if name.startswith("on")]
    assert "b" not in {tag for tag, _, _ in page.elements}
    assert HOSTILE in next(words for _, words in page.all("th", scope="row") if "script" in words)
    assert any("</script><script>alert(1)" in words for _, words in page.all("svg"))  # charts name it, too
    assert any(HOSTILE in words for _, words in page.all("article"))
    assert page.all("script")[0][1] == (PAGE / "report.js").read_text(encoding="utf-8")


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(hostile: tuple[Report, Path]) -> None:
    page = page_of(*hostile)
    policy = next(found["content"] for found, _ in page.all("meta", http_equiv="Content-Security-Policy"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for rule, tag in (("script-src", "script"), ("style-src", "style")):
        digest = base64.b64encode(hashlib.sha256(page.all(tag)[0][1].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert not [found for _, found, _ in page.elements if "style" in found]  # the policy would drop it


def test_nothing_in_the_page_leads_to_the_network(hostile: tuple[Report, Path]) -> None:
    report, output = hostile
    text = page_text(report, output)
    assert set(re.findall(r"(?:https?:)?//[\w./-]+", text.replace(str(output.parent), ""))) <= {"http://www.w3.org/2000/svg"}
    page = Page(text)
    loaded = [found for _, found, _ in page.elements if "src" in found or ("href" in found and found.get("rel"))]
    assert [found["href"] for found in loaded] == ["data:,"]


def test_every_task_score_links_to_the_file_that_holds_it(tmp_path: Path) -> None:
    ours(tmp_path / "results" / "run #1", scores=BY_HAND | {"STSB": 0.123456})
    report = build_report([tmp_path / "results", PUBLISHED], BENCHMARK)
    output = tmp_path / "pages" / "report.html"
    output.parent.mkdir()
    page = page_of(report, output)
    links = {(unquote(found["href"]), text) for found, text in page.all("a") if not found["href"].startswith("#")}
    assert all((output.parent / path).exists() for path, _ in links)
    for entry in report.entries:
        for score in entry.row.tasks:
            path = next(path for path, text in links if (output.parent / path).resolve() == entry.sources[score.task].resolve())
            record = read_run(entry.row.path, BENCHMARK).records[score.task]
            printed = f"{100 * record.main_score(BENCHMARK.task(score.task)):.2f}"
            assert (path, printed) in links


def test_a_page_is_the_same_bytes_for_the_same_files(tmp_path: Path) -> None:
    for dim in (64, 1792):
        ours(tmp_path / str(dim), dim=dim)
    texts = [page_text(build_report([tmp_path], BENCHMARK), tmp_path / "report.html") for _ in range(2)]
    assert texts[0] == texts[1]


def test_tables_and_buttons_tell_what_they_are(tmp_path: Path) -> None:
    for dim in (64, 1792):
        ours(tmp_path / str(dim), dim=dim)
    page = page_of(build_report([tmp_path, PUBLISHED], BENCHMARK, card=PUBLISHED), tmp_path / "report.html")
    assert len(page.all("table")) == len(page.all("caption")) > 5
    assert all("scope" in found for found, _ in page.all("th"))
    assert len(page.all("button", class_="sort")) == len([found for found, _ in page.all("th") if "aria-sort" in found])
    ids = [found["id"] for _, found, _ in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    named = [name for _, found, _ in page.elements for name in found.get("aria-labelledby", "").split()]
    assert set(named) <= set(ids)
    assert {found["href"][1:] for found, _ in page.all("a") if found["href"].startswith("#")} <= set(ids)
    assert all(found.get("aria-hidden") == "true" for found, _ in page.all("svg"))  # a table beside it says the same


def test_the_calibration_of_the_run_s_own_baseline_is_offered(tmp_path: Path) -> None:
    for name in ("a", "b"):
        baseline = ours(tmp_path / "baselines" / "acge" / name, run=f"settings {name}")
        calibration(baseline / "calibration.json", run=f"settings {name}", tolerance=0.06)
    runs = [ours(tmp_path / "results" / f"{dim}", dim=dim, run="settings b") for dim in (64, 1792)]
    offered = build_report(runs, BENCHMARK, baselines=tmp_path / "baselines")
    assert offered.offered == tmp_path / "baselines" / "acge" / "b"
    assert f"--reference {offered.offered}" in page_text(offered, tmp_path / "report.html")
    assert build_report(runs, BENCHMARK, baselines=tmp_path / "none").offered is None


def test_rates_stand_with_the_cost(tmp_path: Path) -> None:
    run = ours(tmp_path / "run")
    cost = {"encoding": {"encode_seconds": 2.0, "tokens": 5000, "distinct": 30}}
    (run / "costs.jsonl").write_text(json.dumps(cost) + "\n", encoding="utf-8")
    page = page_of(build_report([run], BENCHMARK), tmp_path / "report.html")
    assert {"2,500.0", "15.0"} <= {words for _, words in page.all("td", class_="number")}


def test_tasks_that_nobody_ran_are_folded(tmp_path: Path) -> None:
    for dim in (64, 1792):
        ours(tmp_path / str(dim), dim=dim, scores={"BQ": 0.5, "STSB": 0.6})
    page = page_of(build_report([tmp_path], BENCHMARK), tmp_path / "report.html")
    idle = next(words for _, words in page.all("details") if "Tasks without a score in any row: 33" in words)
    assert "TNews" in idle
    assert "STSB" not in idle
    tasks = [words for found, words in page.all("th", scope="row") if found.get("data-value") in ("BQ", "STSB", "TNews")]
    assert tasks == ["BQ", "STSB"] * 2  # of the heat map and of the scores


def test_rows_without_any_score_are_folded(tmp_path: Path) -> None:
    ours(tmp_path / "full")
    ours(tmp_path / "empty", dim=64, scores={})
    page = page_of(build_report([tmp_path], BENCHMARK), tmp_path / "report.html")
    assert [len(re.findall("#[0-9]+", words)) for _, words in page.all("table", class_="board")] == [1, 1]
    folded = next(words for _, words in page.all("details") if "Rows without any score: 1" in words)
    assert "0/35" in folded


def test_scores_and_speed_are_a_chart_and_a_table(tmp_path: Path) -> None:
    for dim, speed in ((1792, 5000), (64, 9000)):
        run = ours(tmp_path / str(dim), dim=dim)
        (run / "costs.jsonl").write_text(json.dumps({"encoding": {"encode_seconds": 2.0, "tokens": speed}}) + "\n", encoding="utf-8")
    report = build_report([tmp_path], BENCHMARK)
    page = page_of(report, tmp_path / "report.html")
    points = [words for _, words in page.all("title") if "tokens/s" in words]
    assert len(points) == 2
    assert any("45.88, 2,500 tokens/s" in words for words in points)
    assert any(
        words == "45.88"
        for found, words in page.all("td", class_="number")
        if found.get("data-value") == str(report.entries[0].row.cells[0].value)
    )
    assert "quality.svg" in {path.name for path in write_charts(report, tmp_path / "charts")}


def test_a_damaged_run_is_a_row_that_says_so(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b")
    (tmp_path / "b" / MANIFEST).write_text("{", encoding="utf-8")
    page = page_of(build_report([tmp_path], BENCHMARK), tmp_path / "report.html")
    assert "unreadable run" in next(text for found, text in page.all("tr", data_run="2") if "data-find" in found)
    assert "is no manifest of a run" in next(text for _, text in page.all("article", data_run="2"))


def test_both_languages_have_every_word_with_the_same_gaps() -> None:
    english, chinese = (words(language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key in english:
        assert english[key].strip()
        assert chinese[key].strip()
        assert sorted(re.findall(r"{\w+}", english[key])) == sorted(re.findall(r"{\w+}", chinese[key]))
    same = {key for key in english if english[key] == chinese[key]}
    assert not [key for key in same if re.search("[a-z]{4}", english[key])]


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(RequestError, match="unknown language 'fr'"):
        words("fr")


def colours(theme: int) -> dict[str, str]:
    """The colours of the light (0) or the dark page (1)."""
    css = (PAGE / "report.css").read_text(encoding="utf-8")
    return {name: pair[theme] for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)}


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(theme: int) -> None:
    found = colours(theme)
    pairs = [("ink", "paper"), ("ink", "raised"), ("quiet", "paper"), ("quiet", "raised"), ("accent", "paper")]
    pairs += [(f"{kind}-ink", f"{kind}-paper") for kind in ("warn", "bad", "good")]
    pairs += [("ink", f"{side}{n}") for side in ("up", "down") for n in range(1, 6)]
    assert {pair: ratio for pair in pairs if (ratio := contrast(found[pair[0]], found[pair[1]])) < 4.5} == {}
    lines = [f"series-{n}" for n in range(1, 9)]
    assert {name: ratio for name in lines if (ratio := contrast(found[name], found["paper"])) < 3} == {}


def test_latex_prints_what_the_table_prints(tmp_path: Path) -> None:
    report = build_report([PUBLISHED], BENCHMARK)
    text = write_document(report_document(report, output=tmp_path / "report.tex", tasks=True), "latex")
    assert r"acge\_text\_embedding$^{s}$ & A100 & fp16 & 0.65 & 1792 & 512 & \textbf{69.07} & 72.75 & \textbf{58.70}" in text
    assert r"Model & GPU & dtype & GB & Dim & Len & Avg (35) & Clas (9)" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    boards, tasks = [line for line in lines if line.count("&") == 12], [line for line in lines if line.count("&") == 2]
    assert (len(boards), len(tasks)) == (7, 36)
    assert text.count("{") == text.count("}")


def test_latex_never_makes_other_data_the_best(tmp_path: Path) -> None:
    ours(tmp_path / "real")
    ours(tmp_path / "sample", harness=SAMPLE, scores=dict.fromkeys(NAMES, 0.99))
    rows = [entry.row for entry in build_report([tmp_path], BENCHMARK).entries]
    text = write_document(board(rows), "latex")
    assert r"\textbf{45.88}" in text
    assert r"\textbf{99.00}" not in text
    assert r"acge (sample)$^{\dagger}$" in text


@given(st.text())
def test_no_character_of_the_data_is_markup_in_latex(text: str) -> None:
    left = re.sub(r"\$(-|\\(approx|leq|geq))\$", "", escape_latex(text))
    for escape in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"\textless{}", r"\textgreater{}", r"\textbar{}"):
        left = left.replace(escape, "")
    left = re.sub(r"{\\char34}|\\textasciigrave{}|\\allowbreak{}|{[-[*]}|\\[&%$#_{}]", "", left)
    assert not set(left) & set('\\~^<>|"`-&%$#_{}[*\n')


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("pdflatex", ["a_b%c&d#e$f{g}h~i^j\\k", '--`x\'|<y>"z"', "≤ ≥ ≈ − ± été · … † ‡ —", HOSTILE]),
        ("xelatex", ["模型_中文%&{}-v1.5（一）", "a_b%c&d#e$f{g}h~i^j\\k"]),
    ],
)
def test_latex_compiles_and_fits_the_page(engine: str, names: list[str], tmp_path: Path) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} (Debian: texlive-latex-base, texlive-xetex)")
    runs = [ours(tmp_path / f"run{number}", dim=64 + number, model=name) for number, name in enumerate(names)]
    tables = [report_document(build_report([path], BENCHMARK), output=tmp_path / "r", tasks=True) for path in (PUBLISHED, *runs)]
    tables += [
        claims_document(claims_report(PUBLISHED, against=runs[0])),
        explanation_document(explain([PUBLISHED, *runs], BENCHMARK, examples=3)),
        drift_document(check_folders(runs[0], PUBLISHED, BENCHMARK)),
        tasks_document(BENCHMARK),
        Document(blocks=lambda: [grid(table_columns("A"), [[f"{mark}1]"] for mark in "[*"] * 60)], data=dict),
    ]
    font = r"\usepackage{fontspec}\setmainfont{Noto Serif CJK SC}" if engine == "xelatex" else ""
    head = rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}{font}\begin{{document}}"
    written = [write_document(table, "latex") for table in tables]
    (tmp_path / "all.tex").write_text("\n\\clearpage\n".join([head, *written, r"\end{document}"]), encoding="utf-8")
    done = subprocess.run([engine, "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True, check=False)
    said = done.stdout.decode(errors="replace")
    if "fontspec" in said and "cannot be found" in said:
        pytest.skip("no font with Chinese (Debian: fonts-noto-cjk)")
    assert done.returncode == 0, said[-2000:]
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    assert "Missing character" not in (tmp_path / "all.log").read_text(encoding="utf-8", errors="replace")
    assert [points for points in re.findall(r"Overfull \\hbox \((\d+)\S* too wide\)", said) if int(points) > 20] == []
    assert "Float too large" not in said


@pytest.mark.parametrize(
    ("format_", "start"), [("csv", "Model Name,GPU"), ("markdown", "| Model Name |"), ("json", '{\n  "convention": "cmteb"')]
)
def test_the_other_forms_are_those_of_the_table(capsys: pytest.CaptureFixture[str], format_: str, start: str) -> None:
    assert main(["report", str(PUBLISHED), "--format", format_]) == 0
    out = capsys.readouterr().out
    assert out.startswith(start)
    assert "69.07" in out
    assert "68.91" in out  # the printed rows are there, too


def test_charts_are_written_as_svg_and_png(tmp_path: Path) -> None:
    for dim in (64, 1792):
        run = ours(tmp_path / str(dim), dim=dim, model=HOSTILE, harness=SAMPLE)
        (run / "costs.jsonl").write_text(json.dumps({"encoding": {"encode_seconds": 1.0}}) + "\n", encoding="utf-8")
    written = write_charts(build_report([tmp_path], BENCHMARK), tmp_path / "charts")
    assert {path.name for path in written} == {f"{name}.{end}" for name in ("heatmap", "dim_other_data", "cost") for end in ("svg", "png")}
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        else:
            root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
            text = "".join(root.itertext())
            assert not [element for element in root.iter() if element.tag.endswith("script")]
            assert "alert(1)" in text
            assert "not C-MTEB" in text


def test_the_command_writes_the_page_and_the_charts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "report.html"
    assert main(["report", str(PUBLISHED), "-o", str(output), "--charts", str(tmp_path / "charts"), "--language", "zh"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(output), *(str(tmp_path / "charts" / f"max_len.{end}") for end in ("svg", "png"))]
    text = output.read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in text
    assert "评测报告</title>" not in text
    assert "<title>C-MTEB 评测报告" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(PUBLISHED)], "needs a file"),
        ([str(ROOT / "docs"), "-o", "x.html"], "no run at"),
        ([str(PUBLISHED), "-o", "x.html", "--convention", "mean"], "unknown convention 'mean'"),
    ],
)
def test_a_request_that_can_not_be_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_calibration_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "noise.json"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is no calibration"):
        build_report([PUBLISHED], BENCHMARK, calibration=file)


def test_a_report_needs_neither_torch_nor_mteb() -> None:
    code = "import sys, harness.show.report.report, harness.show.report.html\n"
    code += "print(sorted({'torch', 'mteb', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
