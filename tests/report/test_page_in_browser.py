"""The page in a real browser: it opens, it can be used, and hostile text does nothing in it."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cotdrift.find_graded import Judged
from cotdrift.findings import Findings
from cotdrift.gaming import gaming_of
from cotdrift.report import write_report
from cotdrift.study import Study
from tests.judged_study import with_judgments

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402  # skipped above where it is absent
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.chromium import complaints, show, until  # noqa: E402

pytestmark = pytest.mark.browser

HOSTILE = (
    "</script><script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "]]><b>bold</b>",
    "\u202egnp.exe\u2066 \u200f\u0000\u0007",
    "datum.term",
    "a.b[0]['c']\\\"",
    '"+alert(1)+"',
    "{signal: alert(1)}",
    "constructor",
    "__proto__",
    "x" * 20_000,
    "\ud800 half a pair",
)


ALL_DRAWN = "[...document.querySelectorAll('[data-figure]')].every(holder => holder.querySelector('svg'))"


@pytest.fixture(scope="module")
def written(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(findings, tmp_path_factory.mktemp("report") / "report.html")


def test_every_figure_is_drawn_and_the_console_stays_silent(browser: webdriver.Chrome, written: Path) -> None:
    show(browser, written.as_uri())
    until(browser, ALL_DRAWN)
    assert len(browser.find_elements(By.CSS_SELECTOR, "[data-figure] svg")) > 20
    assert complaints(browser) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_sideways(browser: webdriver.Chrome, written: Path, width: int) -> None:
    show(browser, written.as_uri(), width=width)
    until(browser, ALL_DRAWN)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_terms_are_filtered_sorted_and_downloaded(browser: webdriver.Chrome, written: Path) -> None:
    show(browser, written.as_uri())
    until(browser, "document.querySelectorAll('.terms tbody tr').length")
    browser.find_element(By.NAME, "sought").send_keys("overshad")
    (row,) = browser.find_elements(By.CSS_SELECTOR, ".terms tbody tr")
    assert row.text.startswith("overshadow")
    browser.find_element(By.NAME, "sought").send_keys(Keys.CONTROL, "a", Keys.DELETE)
    by_rate = browser.find_element(By.CSS_SELECTOR, "[data-by='rate']")
    by_rate.send_keys(Keys.ENTER)
    assert by_rate.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    browser.execute_script(
        "arguments[0].value = 'watch'; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
        browser.find_element(By.NAME, "family"),
    )
    (browser.downloads / "cotdrift-terms.csv").unlink(missing_ok=True)  # type: ignore[attr-defined]  # one by another test
    browser.find_element(By.CSS_SELECTOR, "[data-terms-csv]").send_keys(Keys.ENTER)
    rows = list(csv.DictReader(downloaded(browser, "cotdrift-terms.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["family"] for row in rows} == {"watch"}
    rates = [float(row["rate"]) for row in rows]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("kind", ["svg", "png", "csv", "json"])
def test_a_figure_leaves_the_page_as(browser: webdriver.Chrome, written: Path, kind: str) -> None:
    show(browser, written.as_uri())
    until(browser, "document.documentElement.dataset.ready")
    browser.find_element(By.CSS_SELECTOR, f"[data-of='surface'] [data-give='{kind}']").send_keys(Keys.ENTER)
    content = downloaded(browser, f"cotdrift-surface.{kind}").read_bytes()
    starts = {"svg": b"<svg", "png": b"\x89PNG", "csv": b"run,measure,unit", "json": b'[{"run"'}
    assert content.startswith(starts[kind])
    assert b"var(--" not in content
    if kind == "json":
        assert {row["step"] for row in json.loads(content)} == {0, 50, 100, 200, 300, 480, 800, 1200}


def downloaded(browser: webdriver.Chrome, name: str) -> Path:
    path: Path = browser.downloads / name  # type: ignore[attr-defined]
    end = time.monotonic() + 20
    while not path.exists() or not path.stat().st_size:
        assert time.monotonic() < end, name
        time.sleep(0.05)
    return path


def test_a_passage_opens_its_whole_trace_by_keyboard(browser: webdriver.Chrome, written: Path) -> None:
    show(browser, written.as_uri())
    until(browser, "document.documentElement.dataset.ready")
    browser.find_element(By.CSS_SELECTOR, "button.step").send_keys(Keys.ENTER)
    dialog = browser.find_element(By.ID, "trace")
    assert dialog.is_displayed()
    assert "overshadow" in {mark.text for mark in dialog.find_elements(By.TAG_NAME, "mark")}
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def test_the_curves_can_show_the_change_on_shared_prompts(browser: webdriver.Chrome, written: Path) -> None:
    show(browser, written.as_uri())
    until(browser, ALL_DRAWN)
    panel = "document.querySelector('[data-figure=surface] svg').textContent"
    before = browser.execute_script(f"return {panel}")
    browser.find_element(By.CSS_SELECTOR, "input[value='change']").send_keys(Keys.SPACE)
    until(browser, f"{panel} !== {json.dumps(before)} && {panel}.includes('−')")


def test_dark_and_light_are_readable_and_figures_follow(browser: webdriver.Chrome, written: Path) -> None:
    def contrast(dark: bool) -> float:
        show(browser, written.as_uri(), dark=dark)
        until(browser, ALL_DRAWN)
        line = "getComputedStyle(document.querySelector('[data-figure=surface] .mark-line path')).stroke"
        return abs(
            luminance(browser.execute_script(f"return {line}"))
            - luminance(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        )

    assert contrast(dark=False) > 0.4
    assert contrast(dark=True) > 0.4
    browser.find_element(By.ID, "theme").click()
    assert luminance(browser.execute_script("return getComputedStyle(document.body).backgroundColor")) > 0.9


def luminance(colour: str) -> float:
    red, green, blue = (float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_hostile_text_does_nothing(browser: webdriver.Chrome, make_findings: Any, tmp_path: Path) -> None:
    calm = make_findings(runs=("constructor", HOSTILE[1]), n_words=60)
    texts = [text for text in HOSTILE if len(text) < 100]

    def spoilt(place: int) -> str:
        return texts[place % len(texts)]

    traces = [
        type(trace)(
            run=trace.run,
            step=trace.step,
            environment=trace.environment,
            prompt_id=trace.prompt_id,
            rep=trace.rep,
            reasoning_kind="raw",
            prompt=spoilt(place),
            reasoning=f"{HOSTILE[place % len(HOSTILE)]} {trace.reasoning} " + "y" * 1_000_000 * (place == 0),
            answer=spoilt(place + 1),
        )
        for place, trace in enumerate(calm.traces)
    ]
    from msgspec.structs import replace

    findings = replace(
        calm,
        title="<b>" + " ".join(texts),
        traces=traces,
        terms={
            against: [row | {"term": spoilt(place) + row["term"]} for place, row in enumerate(rows)] for against, rows in calm.terms.items()
        },
        term_trends=[replace(trend, measure=spoilt(place // 2)) for place, trend in enumerate(calm.term_trends)],
        environments={spoilt(place): trends for place, trends in enumerate(calm.environments.values())},
        passages=[
            replace(
                shown,
                term=spoilt(place),
                late=[replace(line, before=spoilt(place), hit=HOSTILE[place % len(HOSTILE)], after=HOSTILE[-2]) for line in shown.late],
            )
            for place, shown in enumerate(calm.passages)
        ],
        warnings=texts,
        measures={**calm.measures, "reasoning_words": texts[0]},
    )
    path = write_report(findings, tmp_path / "hostile.html")
    show(browser, path.as_uri(), width=390)
    title = browser.title
    until(browser, ALL_DRAWN)
    for button in browser.find_elements(By.CSS_SELECTOR, "button.step")[:4]:
        button.send_keys(Keys.ENTER)
        assert browser.find_element(By.CSS_SELECTOR, "#trace .text").text
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for figure in ("volcano", "terms_over_steps", "environments"):
        browser.find_element(By.CSS_SELECTOR, f"figure[data-of='{figure}'] [data-give='svg']").send_keys(Keys.ENTER)
        assert "<script" not in downloaded(browser, f"cotdrift-{figure.replace('_', '-')}.svg").read_text(encoding="utf-8")
    browser.find_element(By.CSS_SELECTOR, "[data-terms-csv]").send_keys(Keys.ENTER)
    assert browser.title == title != "taken"
    assert not browser.find_elements(By.CSS_SELECTOR, "main img, main script, main b:not(.whisker b), [onload], [onerror]")
    assert complaints(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def gamed(hint_traces: Any, make_findings: Any, *levels: str) -> Findings:
    """Findings with the section on gaming; labels and fields are called by other names when some are given."""
    frame = hint_traces(steps=(0, 100, 200), cells=60)
    for column in ("condition_label", "condition_field", "condition_wording") if levels else ():
        called = {told: f"{levels[place % len(levels)]} {told}" for place, told in enumerate(frame[column].unique().sort())}
        frame = frame.with_columns(pl.col(column).replace_strict(called))
    gaming = gaming_of(frame)
    assert gaming is not None
    findings: Findings = make_findings(runs=("control", "hinted"), n_words=40, gaming=gaming)
    return findings


@pytest.mark.parametrize("width", [320, 500, 1200])
def test_gaming_is_drawn_whole_at_any_width(
    browser: webdriver.Chrome, hint_traces: Any, make_findings: Any, tmp_path: Path, width: int
) -> None:
    path = write_report(gamed(hint_traces, make_findings), tmp_path / "gaming.html")
    show(browser, path.as_uri(), width=width, dark=width == 500)
    until(browser, ALL_DRAWN)
    drawn = "document.querySelectorAll('#gaming [data-figure] svg')"
    assert browser.execute_script(f"return {drawn}.length") > 15
    marks = f"[...{drawn}].every(svg => svg.querySelector('.mark-line path, .mark-symbol path'))"
    assert browser.execute_script(f"return {marks}")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert complaints(browser) == []


def test_hostile_levels_do_nothing_in_a_figure(browser: webdriver.Chrome, hint_traces: Any, make_findings: Any, tmp_path: Path) -> None:
    names = [text for text in HOSTILE if len(text) < 100]
    show(browser, write_report(gamed(hint_traces, make_findings, *names), tmp_path / "levels.html").as_uri())
    title = browser.title
    until(browser, ALL_DRAWN)
    browser.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for figure in ("gaming-ladder", "gaming-factors"):
        name = figure.replace("-", "_")
        (browser.downloads / f"cotdrift-{figure}.svg").unlink(missing_ok=True)  # type: ignore[attr-defined]
        browser.find_element(By.CSS_SELECTOR, f"figure[data-of='{name}'] [data-give='svg']").send_keys(Keys.ENTER)
        assert "<script" not in downloaded(browser, f"cotdrift-{figure}.svg").read_text(encoding="utf-8")
    assert browser.title == title != "taken"
    assert not browser.find_elements(By.CSS_SELECTOR, "main img, main script, [onload], [onerror]")
    assert complaints(browser) == []


@pytest.mark.parametrize("width", [320, 500, 1200])
def test_judgments_are_drawn_whole_at_any_width_and_do_nothing(
    browser: webdriver.Chrome, judged: Judged, judged_study: Study, make_findings: Any, tmp_path: Path, width: int
) -> None:
    path = write_report(with_judgments(make_findings, judged, judged_study), tmp_path / "judged.html")
    show(browser, path.as_uri(), width=width, dark=width == 500)
    title = browser.title
    browser.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    until(browser, ALL_DRAWN)
    drawn = "document.querySelectorAll(':is(#awareness, #legibility, #graders) [data-figure] svg')"
    assert browser.execute_script(f"return {drawn}.length") > 25
    marks = f"[...{drawn}].every(svg => svg.querySelector('.mark-line path, .mark-symbol path, .mark-rect path, .mark-rule line'))"
    assert browser.execute_script(f"return {marks}")
    browser.find_element(By.CSS_SELECTOR, "#awareness button.step").send_keys(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, "#trace mark").text
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.title == title
    assert not browser.find_elements(By.CSS_SELECTOR, "main img, main script, [onload], [onerror]")
    assert complaints(browser) == []


def test_a_large_study_opens_in_under_three_seconds(browser: webdriver.Chrome, make_findings: Any, tmp_path: Path) -> None:
    path = write_report(make_findings(n_words=3_000, n_traces=400), tmp_path / "large.html")
    assert path.stat().st_size < 5_000_000
    show(browser, path.as_uri())
    until(browser, "document.documentElement.dataset.ready")
    took = browser.execute_script("return performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart")
    assert took < 3_000
