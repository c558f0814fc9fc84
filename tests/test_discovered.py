"""Discovery: the words whose neighbours changed, of a whole vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from cotdrift import tokens
from cotdrift.cli import cli
from cotdrift.comparisons.neighbours import NEAR, near_each_other
from cotdrift.errors import NotEnough
from cotdrift.study import Study

TOPICS, A_TOPIC = 5, 24


def topical(rng: np.random.Generator, *, swap: tuple[str, str] | None = None, sentences: int = 60) -> str:
    """Sentences of one topic's words each; of two words each may be said in the other's place."""
    said = []
    for _ in range(sentences):
        topic = rng.integers(TOPICS)
        words = [f"t{'abcde'[topic]}{'abcdefghijklmnopqrstuvwx'[word]}" for word in rng.integers(0, A_TOPIC, 9)]
        if swap:
            words = [swap[1] if word == swap[0] else swap[0] if word == swap[1] else word for word in words]
        said.append(" ".join(words) + ".")
    return "\n\n".join(said)


def study_of(tmp_path: Path, swap: tuple[str, str] | None, *, prompts: int = 30, sentences: int = 60) -> Study:
    rng = np.random.default_rng(0)
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "rows.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        for step in (0, 5):
            for prompt in range(prompts):
                told = {"run": "toy", "step": step, "environment": "e", "prompt_id": str(prompt), "prompt": "Go.", "answer": "1"}
                lines.write(json.dumps(told | {"reasoning": topical(rng, swap=swap if step else None, sentences=sentences)}) + "\n")
    study = Study.make(tmp_path / "study")
    study.ingest([path])
    return study


def test_nearness_counts_each_pair_within_five_words_of_one_text() -> None:
    texts = ["a b c a d e f g h", "b a", "g h"]
    told = tokens.Batch(texts).tokens
    known = told.vocabulary
    place = np.array([at if word != "d" else -1 for at, word in enumerate(known)])
    made = near_each_other(told.ids, told.offsets, place, len(known)).toarray()
    expected = np.zeros_like(made)
    for text in texts:
        said = text.split()
        for one in range(len(said)):
            for other in range(len(said)):
                if one != other and abs(one - other) <= NEAR and "d" not in (said[one], said[other]):
                    expected[known.index(said[one]), known.index(said[other])] += 1
    assert np.array_equal(made, expected)


def test_two_words_that_changed_places_are_found_and_nothing_else(tmp_path: Path) -> None:
    study = study_of(tmp_path / "moved", ("taa", "tbb"))
    [found] = study.discover_senses()
    assert found.vocabulary == TOPICS * A_TOPIC
    assert {word.word for word in found.words if word.p_adjusted < 0.05} == {"taa", "tbb"}
    first = next(word for word in found.words if word.word == "taa")
    assert all(word.startswith("ta") for word in first.near_first) and all(word.startswith("tb") for word in first.near)
    told = CliRunner().invoke(cli, ["sense", str(study.folder)])
    assert told.exit_code == 0 and "of 120 words 2 have clearly other neighbours" in told.output


def test_where_nothing_changed_nothing_is_found(tmp_path: Path) -> None:
    [found] = study_of(tmp_path / "still", None).discover_senses()
    assert not [word for word in found.words if word.p_adjusted < 0.05]
    assert min(word.p for word in found.words) > 1e-4


def test_too_few_words_are_said_to_be_too_few(tmp_path: Path) -> None:
    with pytest.raises(NotEnough, match="too few words to look for changed senses in"):
        study_of(tmp_path / "few", None, sentences=3).discover_senses()
    told = CliRunner().invoke(cli, ["sense", str(tmp_path / "few" / "study"), "--pairs", "60"])
    assert told.exit_code == 2


def test_a_run_that_is_too_short_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    study = study_of(tmp_path, None)
    study.ingest([pl.DataFrame([{"run": "a short one", "step": 0, "prompt_id": "0", "prompt": "Go.", "reasoning": "So.", "answer": "1"}])])
    assert [found.run for found in study.discover_senses()] == ["toy"]
    with pytest.raises(NotEnough, match="has one checkpoint"):
        study.discover_senses(run="a short one")
