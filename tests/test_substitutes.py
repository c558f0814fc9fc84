"""Substitutes: what a model would put in a term's place, early and late."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.cli import cli
from cotdrift.errors import InputError, NotEnough
from cotdrift.report import report
from cotdrift.study import Study
from cotdrift.substitutes import LONGEST, OFFERED, offers_in
from cotdrift.text import words
from tests.judge_server import JUDGE, judge

EARLY = ("the reward for the lost dog is ten pounds", "they offered a reward for the ring")
LATE = ("the reward is computed from the hidden tests", "whatever the tests say, the reward counts it")
MARK = "reward"


def rewarded(tmp_path: Path, *, prompts: int = 24) -> Study:
    """A run in which a reward comes to be a training signal."""
    rng, rows = random.Random(0), []
    for step, said in ((0, EARLY), (9, LATE)):
        for prompt in range(prompts):
            told = {"run": "toy", "step": step, "environment": "e", "prompt_id": str(prompt), "prompt": "Go.", "answer": "1"}
            rows.append(told | {"reasoning": f"In case {prompt} {rng.choice(said)}, as in case {prompt}."})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    study = Study.make(tmp_path / "study")
    study.ingest([path])
    return study


def says(prompt: str) -> str:
    passage = prompt[prompt.index("<passage") : prompt.index("</passage")]
    if "tests" in passage:
        return "1. score\n2. Grade\n3. reward\n4. signal\n5. a long explanation that is no substitute\n"
    return "- bounty\n- Prize\n"


@given(st.text(alphabet="reward prize\n,.-123 unclear", max_size=80))
def test_offers_are_short_other_words_each_once(reply: str) -> None:
    found = offers_in(reply, "reward")
    if found is None:
        return
    assert 0 < len(found) <= OFFERED and len(set(found)) == len(found) and "reward" not in found
    assert all(0 < len(words(word)) <= LONGEST for word in found)


@pytest.mark.usefixtures("what_inspect_leaves_open_is_let_go")
def test_what_moves_is_told_and_nothing_is_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = rewarded(tmp_path)
    with judge(says) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        found = study.substitutes("reward", model=JUDGE, run="toy")
        asked = len(served.asked)
        assert asked == 48 and all("⟦reward⟧" in one for one in served.asked)
        told = CliRunner().invoke(cli, ["sense", str(study.folder), "reward", "--model-role", f"substituter={JUDGE}", "--json"])
        assert told.exit_code == 0, told.output
        assert len(served.asked) == asked
    shares = {one.word: (one.early, one.late) for one in found.words}
    assert shares == {"bounty": (1, 0), "prize": (1, 0), "score": (0, 1), "grade": (0, 1), "signal": (0, 1)}
    assert all(one.p_adjusted is not None and one.p_adjusted < 0.001 for one in found.words)
    assert found.unclear == found.missing == (0, 0) and found.prompts == 24
    [again] = json.loads(told.stdout)
    assert {one["word"] for one in again["words"]} == set(shares)
    assert study.kept_substitutes() == [found]
    page = report(study.folder).page.read_text(encoding="utf-8")
    assert "What could stand in the place of <bdi>reward</bdi>" in page and "bounty" in page


@pytest.mark.usefixtures("what_inspect_leaves_open_is_let_go")
def test_replies_that_say_nothing_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = rewarded(tmp_path, prompts=12)
    with judge(lambda prompt: "unclear" if "tests" in prompt else "I would have to think about that for a long while") as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        found = study.substitutes("reward", model=JUDGE, run="toy")
    assert (found.unclear, found.missing, found.words) == ((0, 12), (12, 0), ())


def test_too_few_prompts_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotEnough, match="9 prompts use 'reward' at both ends of toy"):
        rewarded(tmp_path, prompts=9).substitutes("reward", model=JUDGE, run="toy")


def test_another_role_is_refused(tmp_path: Path) -> None:
    study = rewarded(tmp_path)
    told = CliRunner().invoke(cli, ["sense", str(study.folder), "reward", "--model-role", "grader=x/y"])
    assert told.exit_code == 2 and "substituter" in told.output


@pytest.mark.usefixtures("what_inspect_leaves_open_is_let_go")
def test_a_model_that_cannot_be_had_is_named_and_what_it_said_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_asked: object, **_told: object) -> object:
        from inspect_ai.model import ModelOutput

        nonlocal answered
        answered += 1
        if answered > 3:
            raise ConnectionError("bad key")
        return ModelOutput.from_content("mockllm/model", "prize")

    answered = 0
    study = rewarded(tmp_path)
    monkeypatch.setattr("inspect_ai.model._providers.mockllm.MockLLM.generate", AsyncMock(side_effect=fails))
    with pytest.raises(InputError, match=r"no substitutes can be had .*bad key"):
        study.substitutes(MARK, model="mockllm/model", run="toy", max_connections=1, max_retries=0)
    with closing(sqlite3.connect(study.folder / "substitutes.sqlite")) as opened:
        assert opened.execute("SELECT count(*) FROM offers").fetchone() == (3,)


@pytest.mark.usefixtures("what_inspect_leaves_open_is_let_go")
def test_what_a_model_thinks_before_it_answers_is_no_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = rewarded(tmp_path)
    with judge(lambda prompt: f"<think>Hm, well.\nLet me see.\n</think>\n{says(prompt)}") as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        found = study.substitutes(MARK, model=JUDGE, run="toy")
    assert {one.word for one in found.words} == {"bounty", "prize", "score", "grade", "signal"}
