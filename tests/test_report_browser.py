"""The page in a real browser: it opens from disk, loads nothing else, and its buttons work."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from reports import HOSTILE, SAMPLE, calibration, ours, page_text, with_examples
from runs import BENCHMARK, BY_HAND, PUBLISHED
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from harness.core.run_files import write_failure
from harness.show.report.report import build_report

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion", "--window-size=1400,1000"),
)

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its chromedriver (Debian: chromium chromium-driver)")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with everything on it: rows of all kinds, holes, a noise band, curves, costs, settings, claims."""
    folder = tmp_path_factory.mktemp("page")
    runs = [ours(folder / f"dim{dim}", dim=dim, scores=BY_HAND | {"STSB": 0.6 - 0.0005 * n}) for n, dim in enumerate((1792, 256, 64))]
    runs += [ours(folder / f"sample{dim}", dim=dim, model="sample", harness=SAMPLE) for dim in (64, 1792)]
    runs.append(ours(folder / "holes", model="acge_text_embedding", scores={n: s for n, s in BY_HAND.items() if n not in ("BQ", "TNews")}))
    write_failure(runs[-1], "BQ", kind="ValueError", message="out of memory", traceback="")
    for run in runs[:3]:
        (run / "costs.jsonl").write_text(json.dumps({"encoding": {"encode_seconds": 2.5, "tokens": 4096}}) + "\n", encoding="utf-8")
    noise = calibration(folder / "noise.json", run="dim1792", tolerance=0.06)
    report = build_report([*runs, PUBLISHED], BENCHMARK, calibration=noise, card=PUBLISHED)
    (folder / "report.html").write_text(page_text(report, folder / "report.html"), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(driver: webdriver.Chrome, address: str) -> Iterator[webdriver.Chrome]:
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(address)
    yield driver
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def text(page: webdriver.Chrome, selector: str) -> str:
    return page.find_element(By.CSS_SELECTOR, selector).text


def shown(page: webdriver.Chrome, selector: str) -> list[WebElement]:
    found: list[WebElement] = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter((each) => each.checkVisibility())", selector
    )
    return found


def column(page: webdriver.Chrome, index: int, group: int) -> list[str]:
    """The cells of a column of the leaderboard, in one of its groups."""
    rows = page.find_elements(By.CSS_SELECTOR, f".board tbody:nth-of-type({group}) tr[data-run]")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[index].text for row in rows]


def asked_for(page: webdriver.Chrome) -> set[str]:
    """The schemes of everything that the browser has asked for since the page was opened, and that the policy has not stopped."""
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    stopped = {each["params"]["requestId"] for each in messages if each["params"].get("blockedReason") == "csp"}
    asked = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert asked
    return {each["request"]["url"].split(":")[0] for each in asked if each["requestId"] not in stopped}


def test_it_opens_from_disk_without_an_error_and_asks_for_nothing(page: webdriver.Chrome) -> None:
    assert page.get_log("browser") == []
    assert asked_for(page) <= {"file", "data"}
    assert text(page, "h1") == "C-MTEB report"
    assert shown(page, "h2")[0].text == "Leaderboard"
    assert len(shown(page, "section")) == 9


def test_the_browser_keeps_the_page_from_the_network(page: webdriver.Chrome) -> None:
    code = """
        const done = arguments[0], seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
            seen.push(event.effectiveDirective);
            if (seen.length === 3) done(seen);
        });
        const image = new Image(); image.src = "https://example.invalid/x.png"; document.body.append(image);
        fetch("https://example.invalid/").catch(() => {});
        const script = document.createElement("script"); script.textContent = "window.ran = true"; document.body.append(script);
    """
    assert sorted(page.execute_async_script(code)) == ["connect-src", "img-src", "script-src-elem"]
    assert page.execute_script("return window.ran") is None
    assert asked_for(page) <= {"file", "data"}


def test_text_from_data_does_nothing(driver: webdriver.Chrome, tmp_path: Path) -> None:
    for dim in (64, 1792):
        run = ours(tmp_path / str(dim), dim=dim, model=HOSTILE)
        (run / "costs.jsonl").write_text(json.dumps({"encoding": {"encode_seconds": 1.0}}) + "\n", encoding="utf-8")
    output = tmp_path / "report.html"
    output.write_text(page_text(build_report([tmp_path], BENCHMARK), output), encoding="utf-8")
    driver.get_log("browser")
    driver.get(output.as_uri())
    with pytest.raises(NoAlertPresentException):
        driver.switch_to.alert.text  # noqa: B018 (asking for it raises)
    assert driver.get_log("browser") == []
    assert HOSTILE in text(driver, ".board tbody th[scope=row]")


def test_a_heading_sorts_each_group_and_leaves_holes_last(page: webdriver.Chrome) -> None:
    average, sts = 1, 7
    *averages, last = column(page, average, 1)
    assert averages == sorted(averages, key=float, reverse=True)  # as it opens: best first
    assert last == "33/35"
    button = page.find_elements(By.CSS_SELECTOR, ".board thead .sort")[sts]
    heading = button.find_element(By.XPATH, "..")
    for direction, backwards in (("descending", True), ("ascending", False), ("descending", True)):
        button.click()
        assert heading.get_attribute("aria-sort") == direction
        scores = column(page, sts, 1)
        numbers = [float(score) for score in scores if "/" not in score]
        assert numbers == sorted(numbers, reverse=backwards)
        assert scores[-1] == "7/8"
    assert len(page.find_elements(By.CSS_SELECTOR, ".board th[aria-sort=ascending], .board th[aria-sort=descending]")) == 1
    assert {name.split()[1] for name in column(page, 0, 2)} == {"sample"}  # what is not C-MTEB stays apart


def test_a_heading_sorts_by_keyboard_and_shows_where_the_focus_is(page: webdriver.Chrome) -> None:
    heading = page.find_element(By.CSS_SELECTOR, ".board thead th")
    page.find_element(By.ID, "model").send_keys(Keys.TAB, Keys.TAB, Keys.TAB)  # past Reset and the scrolling region
    focused = page.switch_to.active_element
    assert focused.find_element(By.XPATH, "..") == heading
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    focused.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    focused.send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "descending"


def test_the_first_stop_of_the_keyboard_skips_to_the_leaderboard(page: webdriver.Chrome) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    link = page.switch_to.active_element
    assert link.text == "Skip to the leaderboard"
    link.send_keys(Keys.ENTER)
    assert page.current_url.endswith("#board")


def test_filters_choose_rows_by_source_and_words_everywhere(page: webdriver.Chrome) -> None:
    rows = len(shown(page, ".board tr[data-run]"))
    Select(page.find_element(By.ID, "source")).select_by_visible_text("our run")
    assert len(shown(page, ".board tr[data-run]")) == 6
    field = page.find_element(By.ID, "model")
    field.send_keys("acge 256")
    assert [row.text.splitlines()[0] for row in shown(page, ".board tr[data-run] th")] == ["#2 acge"]
    assert len(shown(page, "#heat thead th.run")) == 1
    assert len(shown(page, "article")) == 1
    assert text(page, "#shown") == f"Rows shown: 1 / {rows}"
    field.send_keys(" nothing like it")
    assert shown(page, ".board tr[data-run]") == []
    assert text(page, ".nothing") == "No row fits the filter."
    page.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    page.execute_async_script("setTimeout(arguments[0])")
    assert len(shown(page, ".board tr[data-run]")) == rows
    assert shown(page, ".nothing") == []


CELLS = """
    return [...document.querySelectorAll("#heat tbody tr:not(.group)")].map((row) => [row.cells[0].innerText,
        [...row.querySelectorAll("[data-run]")].map((cell) =>
            [cell.dataset.run, cell.className.split(" ").sort().join(" "), cell.innerText])])
"""
"""The heat map as it is seen: per task, per run the classes and the text of a cell."""


@pytest.mark.parametrize("number", [2, 4, 6, 7])
def test_another_reference_is_compared_as_if_it_had_been_asked_for(page: webdriver.Chrome, address: str, number: int) -> None:
    picker = Select(page.find_element(By.ID, "reference"))
    assert [option.get_attribute("value") for option in picker.all_selected_options] == ["1"]
    picker.select_by_value(str(number))
    picked = page.execute_script(CELLS)
    folder = Path(unquote(urlsplit(address).path)).parent
    runs = [folder / name for name in ("dim1792", "dim256", "dim64", "sample64", "sample1792", "holes")]
    asked = build_report([*runs, PUBLISHED], BENCHMARK, reference=[*runs, PUBLISHED][number - 1], card=PUBLISHED)
    (folder / "asked.html").write_text(page_text(asked, folder / "asked.html"), encoding="utf-8")
    page.get((folder / "asked.html").as_uri())
    assert picked == page.execute_script(CELLS)


def test_two_runs_are_compared_alone(page: webdriver.Chrome) -> None:
    Select(page.find_element(By.ID, "against")).select_by_value("3")
    assert [heading.text.split()[0] for heading in shown(page, "#heat thead th.run")] == ["#1", "#3"]
    assert text(page, "#bare") == "#4, #5"  # the sample's data is other data
    Select(page.find_element(By.ID, "reference")).select_by_value("4")
    Select(page.find_element(By.ID, "against")).select_by_value("5")
    assert [heading.text.split()[0] for heading in shown(page, "#heat thead th.run")] == ["#4", "#5"]
    assert "No noise band is known here" in text(page, "#heat")


def test_a_cell_opens_the_examples_that_moved_most(driver: webdriver.Chrome, tmp_path: Path) -> None:
    runs = [with_examples(tmp_path / "a", dim=1792), with_examples(tmp_path / "b", dim=64, moved=7)]
    output = tmp_path / "report.html"
    output.write_text(page_text(build_report(runs, BENCHMARK), output), encoding="utf-8")
    driver.get(output.as_uri())
    assert shown(driver, "#moved table") == []
    shown(driver, "#heat td a")[0].click()
    assert shown(driver, "#moved-2-STSB tr")[0].text.startswith("STSB 7 ")
    assert [heading.text for heading in shown(driver, "#heat tr.group")] == ["STS"]  # a type without a row has no heading
    Select(driver.find_element(By.ID, "reference")).select_by_value("2")  # of another reference nothing is known but the scores
    assert (shown(driver, "#heat td a")[0].get_attribute("href") or "").endswith("STSB.json")
    Select(driver.find_element(By.ID, "reference")).select_by_value("1")
    assert (shown(driver, "#heat td a")[0].get_attribute("href") or "").endswith("#moved-2-STSB")


def test_a_task_type_is_shown_alone(page: webdriver.Chrome) -> None:
    Select(page.find_element(By.ID, "type")).select_by_visible_text("Clustering")
    assert [heading.text.split()[0] for heading in shown(page, ".board thead th.number")][:1] == ["Clustering"]
    assert {row.text for row in shown(page, "#scores tbody th[scope=row]")} == {
        "CLSClusteringP2P",
        "CLSClusteringS2S",
        "ThuNewsClusteringP2P",
        "ThuNewsClusteringS2S",
    }
    assert [caption.text for caption in shown(page, "#dim figcaption")] == ["Clustering"] * 2


def test_the_language_changes_all_words_but_not_the_data(page: webdriver.Chrome) -> None:
    before = column(page, 0, 1)
    page.find_element(By.ID, "language").click()
    assert page.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-Hans"
    assert text(page, "h1") == "C-MTEB 评测报告"
    assert [option.text for option in Select(page.find_element(By.ID, "type")).options][:2] == ["全部", "分类"]
    assert shown(page, "[lang=en]") == []
    assert column(page, 0, 1) == before
    page.find_element(By.ID, "language").click()
    assert text(page, "h1") == "C-MTEB report"
    assert shown(page, "body [lang=zh-Hans]") == []


def luminance(page: webdriver.Chrome, selector: str, style: str) -> float:
    """The mean of the channels of a computed colour, 0 to 255."""
    code = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]].match(/[\\d.]+/g).slice(0, 3)"
    return sum(float(channel) for channel in page.execute_script(code, selector, style)) / 3


def test_dark_mode_follows_the_system_and_can_be_chosen(page: webdriver.Chrome) -> None:
    def scheme(value: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": value}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    scheme("light")
    assert luminance(page, "body", "backgroundColor") > 240 > 60 > luminance(page, "body", "color")
    drawn = "#dim svg [stroke^='var(--series-1)']"  # charts follow
    light = luminance(page, drawn, "stroke")
    scheme("dark")
    assert luminance(page, "body", "backgroundColor") < 40 < 200 < luminance(page, "body", "color")
    assert luminance(page, drawn, "stroke") > light
    Select(page.find_element(By.ID, "theme")).select_by_value("light")
    assert luminance(page, "body", "backgroundColor") > 240


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_a_desktop_shows_every_column_of_the_leaderboard_and_every_task(page: webdriver.Chrome, width: int) -> None:
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    page.refresh()
    hidden = "return [...document.querySelectorAll('#board .scroll, #heat .scroll, #scores .scroll')].map((each) => %s)"
    assert max(page.execute_script(hidden % "each.scrollHeight - each.clientHeight")) <= 1
    assert page.execute_script(hidden % "each.scrollWidth - each.clientWidth")[0] <= 1


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_tables_and_never_the_page(page: webdriver.Chrome, width: int) -> None:
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True})
    page.refresh()
    assert page.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    assert page.execute_script("const each = document.querySelector('#heat .scroll'); return each.scrollWidth > each.clientWidth")
    assert page.execute_script("return document.querySelector('.board tbody th.sticky').offsetWidth") > 100  # words, not letters
    small = "return [...document.querySelectorAll('button:not(.sort), select, input')].filter((each) => each.offsetHeight < 24).length"
    assert page.execute_script(small) == 0  # WCAG 2.2, 2.5.8


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_names_break_between_their_words_and_charts_can_be_read(page: webdriver.Chrome, tmp_path: Path, width: int) -> None:
    run = ours(tmp_path / "long", model="acge_text_embedding_with_a_rather_long_name-v2.5-instruct")
    (run / "costs.jsonl").write_text(json.dumps({"encoding": {"encode_seconds": 2.5, "tokens": 4096}}) + "\n", encoding="utf-8")
    report = build_report([run, PUBLISHED], BENCHMARK)
    (tmp_path / "report.html").write_text(page_text(report, tmp_path / "report.html"), encoding="utf-8")
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True})
    page.get((tmp_path / "report.html").as_uri())
    assert page.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    lines = """
        const words = [...document.querySelectorAll('.matrix tbody th.sticky[data-value]')].flatMap((each) => [...each.childNodes]);
        return words.filter((each) => each.data?.trim()).map((word) => {
            const range = document.createRange();
            range.selectNodeContents(word);
            return [word.data.trim(), range.getClientRects().length];
        })"""
    found = [tuple(each) for each in page.execute_script(lines)]
    assert {("Massive", 1), ("Intent", 1), ("Classification", 1), ("P2P", 1)} <= set(found)
    assert {number for _, number in found} <= {0, 1}  # none within a word, those in closed parts of the page have no line
    size = "const text = document.querySelector('figure.wide svg text'); return text.getBoundingClientRect().height"
    assert page.execute_script(size) >= 9


def test_paper_gets_the_light_page_without_what_can_be_pressed(page: webdriver.Chrome) -> None:
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    assert luminance(page, "body", "color") < 60
    assert shown(page, ".filters, .switches, nav") == []
    assert {summary.value_of_css_property("list-style-type") for summary in shown(page, "summary")} == {"none"}  # a heading now
    assert len(shown(page, "details table")) == len(page.find_elements(By.CSS_SELECTOR, "details table")) > 0
    pdf = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")


def test_a_screen_reader_finds_named_tables_and_sortable_headings(page: webdriver.Chrome) -> None:
    nodes: list[dict[str, Any]] = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored") and "role" in node]
    tables = [name for role, name in seen if role == "table"]
    assert len(tables) >= 6
    assert all(tables)
    assert ("columnheader", "STS 8") in [(role, name.replace("  ", " ")) for role, name in seen]
    assert ("button", "STS") in seen
    assert not [name for role, name in seen if role in ("button", "combobox", "searchbox", "link") and not name]
    assert [name for role, name in seen if role == "status"]
