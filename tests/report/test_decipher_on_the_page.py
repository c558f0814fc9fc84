"""The section on decipherment: it is there when somebody read, says what the numbers say, and acts on no text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cotdrift.decipher.bench import Made, Settings
from cotdrift.decipher.deciphered import Deciphered, Example
from cotdrift.decipher.items import PLANTED, SHUFFLED
from cotdrift.decipher.scores import score
from cotdrift.report import page, write_figures
from tests.test_decipher_scale import rows as said_of_traces

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp {{ 7 * 7 }} ']\"]"


def deciphered(*, reader: str = "one", text: str = "The lantern decides.") -> Deciphered:
    """Two readers of traces, with a later checkpoint as hard as half of the glossary, and of planted passages that both misread alike."""
    traces = said_of_traces(0, late=0.5)
    wrong, even = pl.col("encoding") != SHUFFLED, pl.col("prompt").str.slice(1).cast(pl.Int64) % 2 == 0
    planted = traces.filter(pl.col("step") == 0).with_columns(
        material=pl.lit(PLANTED),
        encoding=pl.col("encoding").replace({"glossary": "swapped"}),
        transcript_id="planted " + pl.col("transcript_id"),
        label=pl.when(wrong & even).then(pl.lit("B")).when(wrong).then(pl.lit("D")).otherwise("label"),
        right=pl.when(wrong).then(0.0).otherwise("right"),
    )
    both = pl.concat([traces, planted]).with_columns(reader=pl.col("reader").replace({"one": reader}))
    made = Made(
        settings=Settings(), version=1, cotdrift="0", open_sha256="ab" * 32, sealed_sha256="cd" * 32, open=400, sealed=80, made="now"
    )
    example = Example(
        encoding="glossary",
        dose=1.0,
        source="The price decides.",
        encoded=text,
        asked=text,
        right="A",
        said=[(reader, "B", text)],
        rewritten=[(reader, text)],
    )
    return Deciphered(made=made, looks=(), scores=score(both), examples=(example,))


@pytest.fixture(scope="module")
def read() -> Deciphered:
    return deciphered()


def carried(text: str) -> dict[str, Any]:
    found = re.search(r'<script id="carried" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_where_nobody_read_nothing_is_said_of_it(make_findings: Any) -> None:
    text = page(make_findings())
    assert 'id="decipher"' not in text
    assert not {"decipher_dose", "decipher_placed"} & set(carried(text)["data"])


def test_the_section_says_what_the_numbers_say(make_findings: Any, read: Deciphered) -> None:
    findings = make_findings(deciphered=read, methods=["How it was made."])
    text = page(findings)
    assert 'href="#decipher"' in text
    assert "Agreement and accuracy come apart here" in text
    assert "come apart</td>" in text
    assert any("as hard to read as" in sentence for sentence in findings.sentences)
    table = carried(text)["data"]["decipher_dose"]
    drawn = [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]
    assert {row["panel"] for row in drawn} == {"glossary, traces", "swapped"}
    scale = next(one for one in read.scores.dosed if (one.reader, one.encoding) == ("one", "glossary"))
    seen = [row["curve"] for row in drawn if (row["reader"], row["encoding"]) == ("one", "glossary")]
    assert seen == pytest.approx([100 * share for share in scale.scale.curve])
    assert text.count('data-figure="decipher_dose"') == 2
    assert "400 open items" in text and "looked at 0 times" in text


def test_no_text_of_readers_acts_on_the_page(make_findings: Any) -> None:
    text = page(make_findings(deciphered=deciphered(reader=HOSTILE, text=HOSTILE)))
    assert "<script>alert" not in text and "<img src=x" not in text
    assert "\u202e" not in text
    assert "{{ 7 * 7 }}" in text


def test_the_figure_is_drawn_for_papers(make_findings: Any, read: Deciphered, tmp_path: Path) -> None:
    written = {path.name for path in write_figures(make_findings(deciphered=read), tmp_path)}
    assert "decipher-dose.svg" in written
