"""What speaks against the server stands above everything the page says, and what is shown of it does nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cotdrift.estimate import mean
from cotdrift.report import page
from cotdrift.serving import Changed, Checked, Seen, Serving

HOSTILE = "<|im_end|></script><script>alert(1)</script>{{ 7 * 7 }}"


@pytest.fixture
def suspected() -> Serving:
    seen = Seen(transcript_id=f"run:{HOSTILE}", before="Four.", hit=HOSTILE, after="user")
    share = mean([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2])
    made = {"run": HOSTILE, "step": 1200, "where": "answer", "share": share, "tolerated": 0.01, "fails": True}
    checked = [
        Checked(**made, check="tokens", passages=(seen,)),
        Checked(**made, check="soup", passages=(seen,)),
        Checked(**made, check="loop"),
    ]
    changed = Changed(
        run="olmo", step=480, since=300, setting="temperature", before={"1.0": 1.0}, after={"0.7": 0.6, "null": 0.4}, begins=("hedging",)
    )
    return Serving(traces=6, checked=checked, changed=[changed], unrecorded={"olmo": ("provider",)})


def test_a_banner_stands_above_what_changed_with_numbers_and_passages(make_findings: Any, suspected: Serving) -> None:
    text = page(make_findings(serving=suspected))
    assert 0 < text.index("Check the server first") < text.index('id="changes"')
    assert "hold special tokens or think tags" in text and "the same words over and over" in text and "<strong>50%</strong>" in text
    assert "the temperature goes from 1.0 to 0.7 (60%), not recorded (40%)" in text
    assert "&lt;|im_end|&gt;&lt;/script&gt;" in text and "<script>alert" not in text


def test_a_server_that_nothing_speaks_against_is_a_line_without_a_banner(make_findings: Any, suspected: Serving) -> None:
    sound = msgspec.structs.replace(suspected, checked=(), changed=())
    text = page(make_findings(serving=sound))
    assert "Check the server first" not in text and "none of the checks speaks against the server" in text
    assert text.index("none of the checks") < text.index('id="changes"')


def test_a_page_of_findings_without_a_check_says_nothing_of_it(make_findings: Any) -> None:
    assert 'id="serving"' not in page(make_findings())
