"""importance: chance is taken off, a planted decisive sentence is found and no other, and what was sampled once is not sampled twice."""

import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

from cotdrift.answer_shift import Shift, divergence, shift_of, shrunk, variation
from cotdrift.errors import InputError, NotEnough
from cotdrift.experiments.importance_design import Chosen, category_of, make_chains, smallest_shift
from cotdrift.importance import FORCED, OPEN, Importance, importance_of, word_cosine
from cotdrift.study import Study
from tests.of_inspect import RUNS_INSPECT

COUNTS = st.integers(2, 6).flatmap(
    lambda many: st.tuples(*(st.lists(st.integers(0, 40), min_size=many, max_size=many).map(np.array) for _ in range(2)))
)


# What two sets of answers are apart


@given(COUNTS, st.randoms())
def test_distances_are_never_below_nought_and_care_for_no_names(counts: Any, random: Random) -> None:
    one, other = counts
    assert divergence(one, other) >= 0 and 0 <= variation(one, other) <= 1
    assert divergence(one, one) == 0 == variation(other, other)
    order = list(range(len(one)))
    random.shuffle(order)
    assert divergence(one[order], other[order]) == pytest.approx(float(divergence(one, other)), abs=1e-12)
    assert variation(one[order], other[order]) == pytest.approx(float(variation(one, other)), abs=1e-12)


@given(COUNTS)
def test_other_names_for_answers_change_nothing_but_the_draw_of_chance(counts: Any) -> None:
    one, other = counts
    assume(one.sum() and other.sum())
    there, back = shift_of(one, other, draws=1999), shift_of(one[::-1], other[::-1], draws=1999)
    tolerance = 6 * there.spread / 1999**0.5 + 1e-9
    assert there.kl == pytest.approx(back.kl, abs=2 * tolerance)
    assert there.p == pytest.approx(back.p, abs=6 * math.sqrt(0.25 / 1999) + 1e-3)


def test_the_plug_in_divergence_of_equal_distributions_is_above_nought_and_the_corrected_one_is_not() -> None:
    rng = np.random.default_rng(0)
    plain = divergence(rng.multinomial(100, [0.25] * 4, 4000), rng.multinomial(100, [0.25] * 4, 4000))
    assert plain.mean() == pytest.approx(0.028, abs=0.002)
    assert np.quantile(plain, 0.95) == pytest.approx(0.073, abs=0.005)
    shifts = [shift_of(*rng.multinomial(100, [0.25] * 4, 2), draws=499, seed=seed) for seed in range(600)]
    assert np.mean([shift.chance for shift in shifts]) == pytest.approx(0.028, abs=0.003)
    assert abs(np.mean([shift.kl for shift in shifts])) < 3 * 0.024 / 600**0.5
    assert np.mean([shift.kl > shift.band for shift in shifts]) == pytest.approx(0.05, abs=0.03)


def test_p_is_uniform_where_there_is_nothing() -> None:
    rng = np.random.default_rng(1)
    shares = [0.4, 0.3, 0.2, 0.1]
    p = np.array([shift_of(*rng.multinomial(100, shares, 2), draws=499, seed=seed).p for seed in range(1500)])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert np.mean(p <= level) == pytest.approx(level, abs=3.5 * (level * (1 - level) / 1500) ** 0.5)


def test_dealing_out_counts_is_dealing_out_answers() -> None:
    rng = np.random.default_rng(2)
    without, kept = np.repeat([0, 1, 2], [30, 12, 8]), np.repeat([0, 1, 2], [22, 25, 3])
    pool, count = np.concatenate([without, kept]), lambda part: np.bincount(part, minlength=3)
    null = []
    for _ in range(4000):
        dealt = rng.permutation(pool)
        null.append(float(divergence(count(dealt[:50]), count(dealt[50:]))))
    seen = float(divergence(count(without), count(kept)))
    found = shift_of(count(without), count(kept), draws=20_000)
    assert found.chance == pytest.approx(np.mean(null), rel=0.1)
    assert found.spread == pytest.approx(np.std(null), rel=0.1)
    assert found.p == pytest.approx((1 + np.sum(np.array(null) >= seen - 1e-12)) / 4001, abs=0.01)


@pytest.mark.parametrize("shares", [([0.8, 0.2], [0.3, 0.7]), ([0.6, 0.3, 0.1], [0.2, 0.3, 0.5]), ([0.5, 0.5], [0.5, 0.5])])
def test_the_error_is_what_divergences_vary_by(shares: tuple[list[float], list[float]]) -> None:
    rng = np.random.default_rng(3)
    shifts = [shift_of(rng.multinomial(100, shares[0]), rng.multinomial(100, shares[1]), draws=299, seed=seed) for seed in range(400)]
    assert np.std([shift.kl for shift in shifts]) == pytest.approx(np.mean([shift.error for shift in shifts]), rel=0.35)


def test_more_draws_are_taken_where_many_tests_need_a_smaller_p() -> None:
    assert shift_of(np.array([50, 0]), np.array([0, 50]), draws=999).p == 1 / 1000
    assert shift_of(np.array([50, 0]), np.array([0, 50]), draws=999, tests=100).p == 1 / 40_001


# Drawn towards nought


def shift(kl: float, error: float, *, chance: float = 0.03) -> Shift:
    return Shift(kl=kl, tv=0.0, error=error, chance=chance, spread=chance, band=2 * chance, p=0.5, without=50, kept=50)


@given(st.lists(st.tuples(st.floats(-0.03, 3), st.floats(0.03, 0.8)), min_size=1, max_size=30))
def test_what_is_shrunk_is_between_nought_and_what_was_seen(given_: list[tuple[float, float]]) -> None:
    shifts = [shift(kl, error) for kl, error in given_]
    for before, after in zip(shifts, shrunk(shifts), strict=True):
        assert 0 <= after.value <= max(before.kl, 0) + before.error
        assert 0 <= after.low <= after.high and 0 <= after.nought <= 1 + 1e-9


def test_noise_goes_to_nought_and_what_is_sure_hardly_moves() -> None:
    rng = np.random.default_rng(4)
    noise = [shift(float(rng.gamma(1, 0.03)) - 0.03, 0.05) for _ in range(40)]
    *small, large = shrunk([*noise, shift(1.5, 0.3)])
    assert sum(one.value for one in small) < 0.3 * sum(max(one.kl, 0) for one in noise)
    assert 1.1 < large.value < 1.6 and large.low > 0.5 and large.nought < 0.001
    assert max(one.value for one in small) < 0.2


def test_the_less_sure_number_is_drawn_further() -> None:
    many = [shift(0.0, 0.04) for _ in range(20)] + [shift(0.4, 0.1), shift(0.4, 0.4), shift(1.0, 0.2), shift(0.6, 0.2)]
    found = shrunk(many)
    assert found[21].high - found[21].low > found[20].high - found[20].low
    assert shrunk([]) == []


def test_shrinking_brings_estimates_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(5)
    before, after = [], []
    for study in range(6):
        truth, shifts = [], []
        for at in range(40):
            q = np.array([0.5, 0.3, 0.2]) if at % 8 else rng.dirichlet([2, 2, 2])
            p = np.array([0.5, 0.3, 0.2])
            truth.append(float((p * np.log(p / q)).sum()))
            shifts.append(shift_of(rng.multinomial(60, p), rng.multinomial(60, q), draws=299, seed=100 * study + at))
        before += [(one.kl - true) ** 2 for one, true in zip(shifts, truth, strict=True)]
        after += [(one.value - true) ** 2 for one, true in zip(shrunk(shifts), truth, strict=True)]
    assert np.mean(after) < np.mean(before)


# One decisive sentence among many


def frame_of_counts(places: Any) -> tuple[pl.DataFrame, dict[str, str]]:
    """Traces of one chain from counts of answers at each place (places × categories); whatever is said anew is what was said."""
    texts = [f"Sentence {chr(97 + at)} says so." for at in range(len(places) - 1)]
    whole = " ".join(texts)
    told = {"of": "trace", "ends": [whole.index(text) + len(text) for text in texts], "own": "0"}
    rows = [
        {
            "transcript_id": f"{kept:02} {category} {rep:03}",
            "run": "planted",
            "step": 7,
            "environment": OPEN,
            "prompt_id": "q",
            "condition_chain": "chain",
            "condition_kept": str(kept),
            "answer": str(category),
            "reasoning": " ".join(texts[kept:]),
            "truncated": False,
            "outcome_answers_so": float(category == 0),
            "extra": json.dumps({"metadata": {"chain": told}}),
        }
        for kept, counts in enumerate(places)
        for category, many in enumerate(counts)
        for rep in range(many)
    ]
    return pl.DataFrame(rows), {"chain": whole}


def clear_in(decisive: int | None, seed: int, *, sentences: int = 12, samples: int = 100) -> list[int]:
    """The sentences that are found in a chain of which one decides."""
    rng, before, after = np.random.default_rng(seed), [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.2, 0.5]
    places = [rng.multinomial(samples, before if decisive is None or k < decisive else after) for k in range(sentences + 1)]
    found = importance_of(*frame_of_counts(places), seed=seed)
    assert found is not None
    return [one.place for one in found.chains[0].clear("resampled")]


def test_a_planted_decisive_sentence_is_found_and_no_other_in_19_of_20_chains() -> None:
    assert sum(clear_in(6, seed) == [6] for seed in range(20)) >= 19


def test_of_a_chain_in_which_nothing_decides_nothing_is_said() -> None:
    assert sum(clear_in(None, seed) == [] for seed in range(20, 40)) >= 19


# From traces to sentences


TEXTS = ("The user wants a number.", "The note pays odd ones.", "Go with odd.", "Seven is odd.", "So it is seven.")


def frame_of(
    *, decisive: int = 3, samples: int = 60, seed: int = 0, chains: int = 2, kinds: tuple[str, ...] = (), steps: tuple[int, ...] = (7,)
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Traces of chains in which one sentence decides; said anew, it decides the other way half of the time."""
    rng, rows, wholes = Random(seed), [], {}
    whole = " ".join(TEXTS)
    ends = [whole.index(text) + len(text) for text in TEXTS]
    for step in steps:
        for chain in range(chains):
            name = f"chain{step}-{chain}"
            wholes[name] = whole
            told = {
                "of": f"trace {chain}",
                "ends": ends,
                "kinds": kinds,
                "shows": "",
                "own": "odd",
                "answers": r"(?P<even>[02468]$)|(?P<odd>[13579]$)",
            }
            for where in (OPEN, FORCED):
                for kept in range(len(TEXTS) + 1):
                    for rep in range(samples):
                        decided = kept >= decisive or (rng.random() < 0.5)
                        said = [text if at + 1 != decisive or decided else "Take the even side." for at, text in enumerate(TEXTS)][kept:]
                        odd = (rng.random() < 0.97) if decided else (rng.random() < 0.03)
                        rows.append(
                            {
                                "transcript_id": f"{name} {where} {kept} {rep:03}",
                                "run": "planted",
                                "step": step,
                                "environment": where,
                                "prompt_id": f"q{chain}",
                                "condition_chain": name,
                                "condition_kept": str(kept),
                                "answer": "7" if odd else "4",
                                "reasoning": "" if where == FORCED else "".join(f" {text}" for text in said),
                                "truncated": False,
                                "outcome_answers_so": float(odd),
                                "extra": json.dumps({"metadata": {"chain": told}}),
                            }
                        )
    return pl.DataFrame(rows), wholes


def weighed(**how: Any) -> Importance:
    found = importance_of(*frame_of(**how))
    assert found is not None
    return found


def test_the_decisive_sentence_of_traces_is_found_in_every_way_of_being_without_it() -> None:
    found = weighed()
    for chain in found.chains:
        assert [sentence.text for sentence in chain.sentences] == list(TEXTS)
        assert {how: [one.place for one in chain.clear(how)] for how in found.hows()} == {how: [3] for how in found.hows()}
        decisive = chain.sentences[2]
        assert set(decisive.weighed) == {"resampled", "counterfactual", "absent", "forced"}
        assert decisive.weighed["counterfactual"].shift.kl > decisive.weighed["resampled"].shift.kl, "only what says something else is left"
        assert decisive.weighed["counterfactual"].shift.without < decisive.weighed["resampled"].shift.without == 60
        assert 0.3 < decisive.weighed["resampled"].change < 0.7
        assert decisive.weighed["resampled"].change_low < decisive.weighed["resampled"].change < decisive.weighed["resampled"].change_high
        assert decisive.again == pytest.approx(0.5, abs=0.2) and chain.sentences[0].again == 1.0
        assert list(chain.examples) == [3] and chain.own == "odd" and set(chain.categories) == {"odd", "even"}
    assert found.answers == 2 * 2 * 6 * 60


def test_an_answer_serves_the_sentence_before_it_and_the_one_after_it() -> None:
    frame, wholes = frame_of(chains=1)
    found = importance_of(frame, wholes)
    assert found is not None
    for before, after in pairwise(found.chains[0].sentences):
        assert before.weighed["resampled"].shift.kept == after.weighed["resampled"].shift.without == 60


def test_a_piece_of_several_sentences_that_comes_back_later_is_not_absent() -> None:
    piece, last, other = " ".join(TEXTS[:2]), TEXTS[2], "Hm, let me see. What else is there?"
    told = {"of": "t", "ends": [len(piece), len(piece) + 1 + len(last)], "kinds": (), "shows": "", "own": "7", "answers": None}
    said = {0: [f"{piece} {last}", f"{other} {piece} {last}"], 1: [f" {last}"] * 2, 2: [""] * 2}
    rows = [
        {
            "transcript_id": f"{kept} {rep:03}",
            "run": "planted",
            "step": 7,
            "environment": OPEN,
            "prompt_id": "q",
            "condition_chain": "c",
            "condition_kept": str(kept),
            "answer": "4" if other in texts[rep % 2] else "7",
            "reasoning": texts[rep % 2],
            "truncated": False,
            "extra": json.dumps({"metadata": {"chain": told}}),
        }
        for kept, texts in said.items()
        for rep in range(40)
    ]
    found = importance_of(pl.DataFrame(rows), {"c": f"{piece} {last}"})
    assert found is not None
    first = found.chains[0].sentences[0]
    assert first.text == piece and first.weighed["counterfactual"].shift.without == 20
    assert "absent" not in first.weighed, "what is said instead says it all the same, two sentences on"


def test_what_counts_as_the_same_is_said_by_whoever_asks() -> None:
    frame, wholes = frame_of(chains=1)
    never = importance_of(frame, wholes, similar=lambda pairs: np.zeros(len(pairs)))
    assert never is not None and never.alike == 0
    assert "counterfactual" not in never.hows(), "nothing is less alike than the median"
    asked: list[tuple[str, str]] = []

    def exact(pairs: Any) -> Any:
        asked.extend(pairs)
        return np.array([float(one == other) for one, other in pairs])

    found = importance_of(frame, wholes, similar=exact)
    assert found is not None and found.chains[0].clear("counterfactual")[0].place == 3
    assert len(asked) == len(set(asked)), "no pair is asked twice"


def test_kinds_are_ranked_and_held_against_all_others() -> None:
    found = weighed(chains=6, samples=30, kinds=("task", "pays", "decides", "number", "number"))
    resampled = [kind for kind in found.kinds if kind.how == "resampled"]
    assert resampled[0].kind == "decides"
    assert resampled[0].against is not None and resampled[0].against.low is not None and resampled[0].against.low > 0.1
    assert (resampled[0].sentences, resampled[0].clear, resampled[0].mean.prompts) == (6, 6, 6)
    assert sum(kind.sentences for kind in resampled) == 30


def test_answers_that_were_cut_off_are_missing_and_counted() -> None:
    frame, wholes = frame_of(chains=1)
    cut = pl.col("condition_kept") == "2"
    frame = frame.with_columns(
        truncated=cut & pl.col("transcript_id").str.ends_with("1"),
        answer=pl.when(cut & pl.col("transcript_id").str.ends_with("1")).then(pl.lit("")).otherwise("answer"),
    )
    found = importance_of(frame, wholes)
    assert found is not None
    assert [one.missing for one in found.chains[0].sentences] == [0, 12, 12, 0, 0]
    assert found.chains[0].sentences[1].weighed["resampled"].shift.kept == 54


def test_a_sentence_with_few_answers_beside_it_is_not_weighed() -> None:
    frame, wholes = frame_of(chains=1)
    few = frame.filter((pl.col("condition_kept") != "4") | pl.col("transcript_id").str.ends_with("001"))
    found = importance_of(few, wholes)
    assert found is not None
    assert ["resampled" in one.weighed for one in found.chains[0].sentences] == [True, True, True, False, False]
    assert importance_of(frame.filter(pl.col("step") < 0), wholes) is None


def test_traces_of_another_kind_under_the_same_name_are_none_of_ours(rollouts: Callable[..., Path], tmp_path: Path) -> None:
    from cotdrift.find import find

    rows = [json.loads(line) | {"environment": "importance"} for line in rollouts(steps=(0, 100), prompts=3).read_text().splitlines()]
    path = tmp_path / "theirs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = Study.make(tmp_path / "study")
    study.ingest([path])
    assert find(study).importance is None


def test_where_the_behaviour_is_not_known_the_change_may_be_anything() -> None:
    frame, wholes = frame_of(chains=1)
    found = importance_of(frame.drop("outcome_answers_so"), wholes)
    assert found is not None
    weighed_ = found.chains[0].sentences[2].weighed["resampled"]
    assert weighed_.is_clear and (weighed_.change_low, weighed_.change_high) == (-1, 1)


def test_a_chain_that_two_checkpoints_went_on_with_is_two_chains() -> None:
    frame, wholes = frame_of(chains=1)
    found = importance_of(
        pl.concat([frame, frame.with_columns(step=pl.lit(9, pl.Int64), transcript_id=pl.col("transcript_id") + "b")]), wholes
    )
    assert found is not None and [(chain.step, chain.samples) for chain in found.chains] == [(7, 60), (9, 60)]


@given(st.text(max_size=40), st.text(max_size=40))
def test_likeness_of_words_goes_from_nought_to_one_and_both_ways(one: str, other: str) -> None:
    there, back, self_ = word_cosine([(one, other), (other, one), (one, one)])
    assert 0 <= there <= 1 and there == pytest.approx(back) and self_ == pytest.approx(1)


# Which chains


def traces_in(path: Path, many: int = 6, **fields: Any) -> Path:
    rows = [
        {
            "run": "planted",
            "step": 7,
            "environment": "numbers",
            "prompt_id": f"q{k % 3}",
            "rep": k,
            "prompt": f"Pick a number, {k % 3}.",
            "answer": "7",
        }
        | {"reasoning": " ".join(TEXTS), "outcome_gaming": k % 2}
        | fields
        for k in range(many)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_chain_is_cut_between_sentences_and_its_prefixes_are_what_was_said(tmp_path: Path) -> None:
    made = make_chains(Chosen(traces=str(traces_in(tmp_path / "t.jsonl")), behaviour="gaming", most=2))
    assert (len(made.chains), made.found) == (2, 3)
    for chain in made.chains:
        assert [chain.kept(many) for many in range(6)] == ["", *(" ".join(TEXTS[:many]) for many in range(1, 6))]
        assert chain.own == "7" and chain.prompt_id.startswith("numbers q")
    assert len({chain.prompt_id for chain in made.chains}) == 2, "one of each prompt before a second of any"


@given(st.integers(2, 9))
def test_longer_chains_are_cut_into_pieces_of_whole_sentences(pieces: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        [chain] = make_chains(Chosen(traces=str(traces_in(Path(folder) / "t.jsonl", many=1)), pieces=pieces)).chains
    assert len(chain.ends) == min(pieces, 5)
    assert chain.kept(len(chain.ends)) == " ".join(TEXTS)
    assert all(chain.kept(many).endswith(".") for many in range(1, len(chain.ends)))


def test_kinds_are_read_off_a_file_the_first_that_fits_first(tmp_path: Path) -> None:
    kinds = tmp_path / "kinds.yaml"
    kinds.write_text("decides: ^go with\npays: pays|odd\n")
    made = make_chains(Chosen(traces=str(traces_in(tmp_path / "t.jsonl", many=1)), kinds=str(kinds)))
    assert made.chains[0].kinds == ("other", "pays", "decides", "pays", "other")
    kinds.write_text("decides: [1]\n")
    with pytest.raises(InputError, match="Write a YAML file of names"):
        make_chains(Chosen(traces=str(traces_in(tmp_path / "t.jsonl")), kinds=str(kinds)))
    kinds.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="Write a YAML file of names"):
        make_chains(Chosen(traces=str(traces_in(tmp_path / "t.jsonl")), kinds=str(kinds)))


def test_what_cannot_be_taken_apart_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotEnough, match="none of 6 has two sentences of reasoning"):
        make_chains(Chosen(traces=str(traces_in(tmp_path / "short.jsonl", reasoning="One only."))))
    with pytest.raises(NotEnough, match="there are none"):
        make_chains(Chosen(traces=str(traces_in(tmp_path / "t.jsonl")), environment="other"))
    with pytest.raises(InputError, match="no regular expression"):
        make_chains(Chosen(traces=str(tmp_path / "t.jsonl"), answers="("))
    with pytest.raises(InputError, match="pieces=1"):
        make_chains(Chosen(traces=str(tmp_path / "t.jsonl"), pieces=1))


def test_a_pattern_that_is_written_as_a_number_is_a_pattern() -> None:
    pytest.importorskip("inspect_ai")
    from cotdrift.experiment import experiment_called

    known = experiment_called("importance")
    assert known.arguments({"shows": 4, "answers": [13579], "most": 3}) == {"shows": "4", "answers": "[13579]", "most": 3}
    with pytest.raises(InputError, match="not of the same sort"):
        known.arguments({"most": "three"})


def test_inspect_s_own_command_line_gives_patterns_with_commas(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    from inspect_ai._cli.util import parse_cli_args

    from cotdrift.experiments.importance import importance

    told = parse_cli_args((r"answers=\d{1,3}", "shows=4"))
    assert not all(isinstance(value, str) for value in told.values())
    asked = importance(traces=str(traces_in(tmp_path / "t.jsonl", many=1)), **told)
    assert asked.dataset[0].metadata and asked.dataset[0].metadata["chain"]["answers"] == r"\d{1,3}"
    assert asked.dataset[0].metadata["chain"]["shows"] == "4"


def test_answers_fall_into_categories() -> None:
    number = re.compile(r"(\d+)")
    assert [category_of(answer, number) for answer in ("It is 12.", "", "none")] == ["12", "no answer", "another answer"]
    shows = re.compile("7")
    assert [category_of(answer, None, shows) for answer in ("7", "8")] == ["with the behaviour", "without the behaviour"]


def test_a_plan_says_what_it_costs_and_what_it_finds(tmp_path: Path) -> None:
    said = " ".join(make_chains(Chosen(traces=str(traces_in(tmp_path / "t.jsonl")), most=3)).sentences(samples=50, forced=True))
    assert "6 traces of 1 checkpoint were to be had" in said
    assert "Of each 3 are taken apart, into 15 sentences." in said
    assert "1,800 answers a checkpoint" in said, "three chains, six places, fifty times, open and closed"
    rng, least = np.random.default_rng(6), smallest_shift(50, 15)
    found = [
        shift_of(rng.multinomial(50, [0.5, 0.5]), rng.multinomial(50, [0.5 + least, 0.5 - least]), draws=9999, seed=seed).p
        for seed in range(200)
    ]
    assert np.mean(np.array(found) <= 0.05 / 15 / sum(1 / k for k in range(1, 16))) == pytest.approx(0.8, abs=0.12)


# At a server


TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
HOSTILE = "The note pays <script>alert(1)</script> odd ones."
SCRIPT = (TEXTS[0], HOSTILE, *TEXTS[2:])
ANSWERS = r"(?P<even>[02468]$)|(?P<odd>[13579]$)"


class Planted:
    """A server of /v1/completions whose third sentence decides: said anew, it decides for the other side in half of its answers."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.lock = threading.Condition()
        self.allowed = 10**9

    def answer(self, prompt: str, temperature: float) -> str:
        with self.lock:
            assert self.lock.wait_for(lambda: temperature == 0 or self.sampled < self.allowed, 300)
            self.asked[f"{temperature} {prompt}"] += 1
            random = Random(f"{prompt} {self.asked[f'{temperature} {prompt}']}")
        reasoning = prompt.rpartition("<think>")[2]
        whole = " ".join(SCRIPT)
        if temperature == 0:
            return whole[len(reasoning) :] + "</think>7" if whole.startswith(reasoning) else "?"
        if "</think>" in reasoning:
            return self.decided(reasoning, random)
        kept = reasoning.count(".")
        said = [f" {text}" for text in SCRIPT]
        if kept < 3 and random.random() < 0.5:
            said[2] = " Take the even side."
        new = "".join(said[kept:])
        return f"{new}</think>{self.decided(reasoning + new, random)}"

    def decided(self, reasoning: str, random: Random) -> str:
        odd = 0.98 if "Go with odd" in reasoning else 0.02 if "even side" in reasoning else 0.5
        return "7" if random.random() < odd else "4"

    @property
    def sampled(self) -> int:
        return sum(many for asked, many in self.asked.items() if not asked.startswith("0"))

    def allow(self, answers: int) -> None:
        with self.lock:
            self.allowed = answers
            self.lock.notify_all()


@contextmanager
def serving(planted: Planted) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = planted.answer(asked["prompt"], float(asked["temperature"]))
            told: dict[str, Any] = {"id": "1", "object": "text_completion", "created": 0, "model": asked["model"]}
            told["choices"] = [{"index": 0, "finish_reason": "stop", "text": text, "logprobs": None}]
            told["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *said: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        planted.allow(10**9)
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What asks the planted server about one chain, as it stands on a command line."""
    pytest.importorskip("inspect_ai")
    pytest.importorskip("openai")
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "template.jinja").write_text(TEMPLATE)
    (tmp_path / "kinds.yaml").write_text("decides: go with\npays: pays\n")
    traces = traces_in(tmp_path / "t.jsonl", many=1, reasoning=" ".join(SCRIPT))

    def command(url: str, *more: str) -> list[str]:
        told = {"traces": traces, "template": tmp_path / "template.jinja", "kinds": tmp_path / "kinds.yaml", "answers": ANSWERS}
        arguments = [part for name, value in told.items() for part in ("-T", f"{name}={value}")]
        served = ["--series", "openai-api-completions/loop/planted-{step}", "--steps", "7", "-M", f"base_url={url}", "-M", "api_key=none"]
        return ["run", "importance", *served, *arguments, "--into", str(tmp_path / "study"), *more]

    return command


class TestAtAServer:
    pytestmark = RUNS_INSPECT

    @pytest.mark.slow
    def test_the_decisive_sentence_is_found_and_shown(self, asked: Any, tmp_path: Path) -> None:
        from cotdrift.cli import cli
        from cotdrift.report import report

        planted = Planted()
        with serving(planted) as url:
            done = CliRunner().invoke(cli, asked(url, "-T", "samples=20"))
        assert done.exit_code == 0, f"{done.output} {done.exception!r}"
        assert "240 answers a checkpoint" in done.output and planted.sampled == 240
        open_, closed = (f"<|user|>Pick a number, 0.<|assistant|><think>{' '.join(SCRIPT[:3])}{end}" for end in ("", "\n</think>\n\n"))
        assert planted.asked[f"1.0 {open_}"] == planted.asked[f"1.0 {closed}"] == 20
        study = Study.open(tmp_path / "study")
        told = report(study.folder)
        found = told.findings.importance
        assert found is not None
        [chain] = found.chains
        assert [sentence.text for sentence in chain.sentences] == list(SCRIPT)
        assert {how: [one.place for one in chain.clear(how)] for how in found.hows()} == {how: [3] for how in found.hows()}
        assert "counterfactual" in found.hows()
        assert any(
            "of 1 chain these move the answer clearly: 1 of 5 where they are said anew" in sentence for sentence in told.findings.sentences
        )
        page = told.page.read_text(encoding="utf-8")
        assert "Which sentences matter" in page and "Take the even side." in page
        assert "alert(1)" in page and "<script>alert" not in page

    @pytest.mark.slow
    def test_a_killed_run_goes_on_and_pays_for_no_answer_twice(self, asked: Any, tmp_path: Path) -> None:
        planted = Planted()
        with serving(planted) as url:
            command = [sys.executable, "-m", "cotdrift", *asked(url, "-T", "samples=8", "--max-connections", "4", "--temperature", "1")]
            environment = os.environ | {"INSPECT_CACHE_DIR": str(tmp_path / "cache")}
            planted.allow(37)
            running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
            kept = [0]
            while planted.sampled < 37 or kept[-20:] != kept[-1:] * 20:  # what is generated has come to lie on the disk
                assert running.poll() is None, shlex.join(command)
                kept.append(sum(path.is_file() and path.stat().st_size > 0 for path in (tmp_path / "cache").rglob("*")))
                time.sleep(0.05)
            assert kept[-1] >= 37
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate(timeout=60)
            held = 4  # requests that wait at the server are answered to nobody
            planted.allow(10**9)
            done = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert planted.sampled <= 5 * 2 * 8 + 2 * 8 + held
        assert Study.open(tmp_path / "study").corpus.scan().select(pl.len()).collect().item() == 96
