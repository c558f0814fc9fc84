"""Pairs of uses: drawn blind, put to judges and people, and held against each other as DURel does."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.cli import cli
from cotdrift.errors import NotEnough
from cotdrift.graders import grader
from cotdrift.labelling.draw import Design
from cotdrift.labelling.labels import FILE, Labels
from cotdrift.labelling.sitting import Given, sit
from cotdrift.report import report
from cotdrift.same_sense import contrast_of, draw_pairs
from cotdrift.sense_sentences import what_was_judged
from cotdrift.study import Study
from cotdrift.usage import Use, Window
from tests.judge_server import JUDGE, judge

MONEY = ("the bank lent them a large sum of money", "her bank charges for a card", "the bank refused the loan again")
RIVER = ("they sat on the grassy bank and fished", "the boat drifted to the muddy bank", "reeds grow along the bank of the stream")


def uses(many: int, when: str) -> list[Use]:
    return [
        Use(
            transcript_id=f"{when}-{at}",
            environment="e",
            prompt_id=str(at % 7),
            start=at,
            window=Window(f"{when} bank {at}", len(when) + 1, len(when) + 5),
        )
        for at in range(many)
    ]


@given(st.integers(8, 30), st.integers(8, 30), st.integers(9, 90), st.integers(0, 5))
def test_pairs_are_of_two_prompts_and_none_comes_twice(early: int, late: int, pairs: int, seed: int) -> None:
    drawn = draw_pairs(uses(early, "a"), uses(late, "b"), pairs=pairs, seed=seed)
    assert all(one.prompt != other.prompt for _, one, other in drawn)
    assert len({frozenset((one.transcript_id, other.transcript_id)) for _, one, other in drawn}) == len(drawn)
    for kind, sides in (("early", {"a"}), ("late", {"b"}), ("across", {"a", "b"})):
        of_kind = [(one, other) for name, one, other in drawn if name == kind]
        assert len(of_kind) <= pairs // 3
        assert all({use.transcript_id[0] for use in pair} == sides for pair in of_kind)
    assert drawn == draw_pairs(uses(early, "a"), uses(late, "b"), pairs=pairs, seed=seed)


def test_uses_take_turns_and_either_side_comes_first() -> None:
    drawn = draw_pairs(uses(30, "a"), uses(30, "b"), pairs=90)
    assert Counter(kind for kind, _, _ in drawn) == {"early": 30, "late": 30, "across": 30}
    across = [one.transcript_id[0] for kind, one, _ in drawn if kind == "across"]
    assert 5 < Counter(across)["a"] < 25
    often = Counter(use.transcript_id for kind, *both in drawn for use in both if kind == "across")
    assert max(often.values()) <= 3


def test_one_prompt_gives_no_pairs() -> None:
    alone = [use for use in uses(20, "a") if use.prompt_id == "0"]
    with pytest.raises(NotEnough, match="two prompts"):
        draw_pairs(alone, alone, pairs=60)


def judged(rng: np.random.Generator, moved: float, *, prompts: int = 30, pairs: int = 60) -> pl.DataFrame:
    """Judgments with an effect of each prompt's own; across is lower by `moved`."""
    effect = rng.normal(size=prompts) * 0.3
    rows = []
    for kind in ("early", "late", "across"):
        for _ in range(pairs):
            one, other = rng.choice(prompts, 2, replace=False)
            value = 3.2 + effect[one] + effect[other] + rng.normal() * 0.5 - moved * (kind == "across")
            rows.append({"kind": kind, "value": value, "first_prompt": str(one), "second_prompt": str(other)})
    return pl.DataFrame(rows)


def test_the_contrast_is_across_less_the_mean_within_and_its_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(0)
    one = judged(rng, 0.5)
    means = dict(one.group_by("kind").agg(pl.col("value").mean()).iter_rows())
    assert contrast_of(one).value == pytest.approx(means["across"] - (means["early"] + means["late"]) / 2)
    held = []
    for turn in range(80):
        found = contrast_of(judged(rng, 0.5), seed=turn)
        assert found.low is not None and found.high is not None
        held.append(found.low <= -0.5 <= found.high)
    assert np.mean(held) >= 0.88


def banks(tmp_path: Path) -> Study:
    """A run in which a bank comes to be a river's."""
    rng = random.Random(0)
    rows = []
    for step, said in ((0, MONEY), (9, RIVER)):
        for prompt in range(24):
            told = {"run": "toy", "step": step, "environment": "e", "prompt_id": str(prompt), "prompt": "Go.", "answer": "1"}
            rows.append(told | {"reasoning": f"Case {prompt}: {rng.choice(said)} in case {prompt}."})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    study = Study.make(tmp_path / "study")
    study.ingest([path])
    return study


def says(prompt: str) -> str:
    """A judge that knows both banks: 4 where both passages are of one of them, 1 where they are not."""
    shown = prompt[prompt.rindex("[First passage]") :]
    first, second = shown.split("[Second passage]")
    told = [any(word in part for word in ("lent", "charges", "loan")) for part in (first, second)]
    return json.dumps({"quotes": [], "reason": "Plain.", "answer": "4" if told[0] == told[1] else "1"})


@pytest.mark.usefixtures("what_inspect_leaves_open_is_let_go")
def test_judges_and_people_are_asked_blind_and_their_contrast_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = banks(tmp_path)
    told = CliRunner().invoke(cli, ["sense", str(study.folder), "bank", "--pairs", "90"])
    assert told.exit_code == 0 and "same_sense" in told.output, told.output
    held = Study.open(study.folder / "pairs")
    with judge(says) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        held.grade("same_sense", judges=[JUDGE])
        first = len(served.asked)
        assert first >= 90
        passages = [asked[asked.rindex("[First passage]") : asked.rindex("</scenario")] for asked in served.asked]
        assert not any(told in one for one in passages for told in ("across", "early", "late", "toy", "step"))
        assert all(one.count("⟦bank⟧") == 2 for one in passages)
        held.grade("same_sense", judges=[JUDGE])
        assert len(served.asked) == first  # what is there is not asked again
    [found] = study.same_sense()
    assert (found.term, found.early, found.late, found.across) == ("bank", 4.0, 4.0, 1.0)
    assert found.moved.value == -3.0 and found.moved.high is not None and found.moved.high < -2.9
    assert "mean less the same across checkpoints" in what_was_judged(found)
    assert "mean less the same across checkpoints" in report(study.folder).page.read_text(encoding="utf-8")
    with Labels(held.folder / FILE) as labels:
        sitting = sit(held.corpus, labels, grader("same_sense"), Design(annotator="ann", limit=90, repeated=0.0))
        for _ in range(90):
            now = sitting.now()
            if now.case is None:
                break
            shown = now.case.parts[0].text
            sitting.label(Given(place=now.case.place, label=json.loads(says(shown))["answer"], details={}, quote="", note="", seconds=1.0))
    raters = {one.rater: one for one in study.same_sense()}
    assert raters["ann"].moved.value == -3.0 and len(raters) == 2


def test_a_study_without_pairs_has_nothing_to_say_of_them(tmp_path: Path) -> None:
    assert banks(tmp_path).same_sense() == []
