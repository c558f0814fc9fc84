"""Term sense: the energy distance by prompts, its test, its dose, and the uses that it is made of."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.cli import cli
from cotdrift.comparisons.classifier import told_apart
from cotdrift.comparisons.energy import Cloud, Exchanged, Paired, halves, held_against
from cotdrift.comparisons.semantic import apart, dose_of
from cotdrift.encoders import Vectors, unit
from cotdrift.errors import InputError, NotEnough
from cotdrift.report import report
from cotdrift.sense import donors_for, sense_of
from cotdrift.sense_sentences import what_became
from cotdrift.study import Study
from cotdrift.term import Term, uses
from cotdrift.text import words
from cotdrift.usage import Window, collect_uses, windows
from cotdrift.vectors import Kept

ROLLOUTS = Path(__file__).resolve().parents[1] / "src" / "cotdrift" / "organism" / "rollouts.parquet"


def clouds(
    rng: np.random.Generator, *, prompts: int = 40, most: int = 3, shift: float = 0.0, same: bool = True, width: int = 24
) -> tuple[Cloud, Cloud]:
    """Uses around a mean of the term's, with an effect of each prompt's own and 1 to `most` uses of each; the second may be shifted."""
    mean, by_prompt = rng.normal(size=width) * 2, rng.normal(size=(2 * prompts, width)) * 0.7
    moved = np.zeros(width)
    moved[0] = shift
    found = []
    for side in range(2):
        rows, names = [], []
        for prompt in range(prompts):
            place = prompt if same or not side else prompts + prompt
            for _ in range(rng.integers(1, most + 1)):
                rows.append(mean + side * moved + by_prompt[place] + rng.normal(size=width))
                names.append(("e", str(place)))
        found.append(Cloud(unit(np.array(rows)).astype(np.float64), names))
    return found[0], found[1]


def distance_pair_by_pair(first: Cloud, second: Cloud, weight: Callable[[Cloud, int], float]) -> float:
    """Twice the mean distance across, less the mean distances within, over pairs of different prompts, one by one."""

    def mean(one: Cloud, other: Cloud) -> float:
        total = over = 0.0
        for i, prompt in enumerate(one.prompts):
            for j, again in enumerate(other.prompts):
                if prompt != again:
                    both = weight(one, i) * weight(other, j)
                    total += both * (1 - float(one.vectors[i] @ other.vectors[j]))
                    over += both
        return total / over

    return 2 * mean(first, second) - mean(first, first) - mean(second, second)


def test_the_paired_distance_is_that_of_all_pairs_of_different_prompts() -> None:
    first, second = clouds(np.random.default_rng(0), prompts=12, shift=1.0)
    n, m = Counter(first.prompts), Counter(second.prompts)

    def weight(cloud: Cloud, at: int) -> float:
        prompt = cloud.prompts[at]
        return n[prompt] * m[prompt] / (n[prompt] + m[prompt]) / (n if cloud is first else m)[prompt]

    sides = held_against(first, second)
    assert isinstance(sides, Paired)
    assert sides.energy() == pytest.approx(distance_pair_by_pair(first, second, weight), abs=1e-12)
    spread = sides.spread()
    assert sides.energy() == pytest.approx(2 * spread.across - spread.first - spread.second, abs=1e-12)


def test_the_distance_on_prompts_of_their_own_is_that_of_all_pairs_of_different_prompts() -> None:
    first, second = clouds(np.random.default_rng(1), prompts=11, shift=1.0, same=False)
    sides = held_against(first, second)
    assert isinstance(sides, Exchanged)
    assert sides.energy() == pytest.approx(distance_pair_by_pair(first, second, lambda _cloud, _at: 1.0), abs=1e-12)


def test_with_few_prompts_every_swap_is_tried() -> None:
    first, second = clouds(np.random.default_rng(2), prompts=10, shift=0.8)
    sides = held_against(first, second)
    assert isinstance(sides, Paired)
    vectors = sides.first - sides.second
    seen = float((vectors.sum(axis=0) ** 2).sum())
    sums = []
    for many in range(11):
        for flipped in combinations(range(10), many):
            signs = np.ones(10)
            signs[list(flipped)] = -1
            sums.append(float(((signs @ vectors) ** 2).sum()))
    assert sides.p(draws=1999) == pytest.approx(np.mean([one >= seen - 1e-9 for one in sums]))


@pytest.mark.parametrize("same", [True, False])
def test_the_test_keeps_its_size_with_prompts_of_its_own_and_finds_a_shift(same: bool) -> None:
    rng = np.random.default_rng(3)
    null = [held_against(*clouds(rng, same=same)) for _ in range(200)]
    shifted = [held_against(*clouds(rng, same=same, shift=1.5)) for _ in range(30)]
    wrong = np.mean([sides.p(draws=199, seed=at) <= 0.05 for at, sides in enumerate(null) if sides])
    assert 0.015 <= wrong <= 0.09  # 5 % of 200, give or take
    assert np.mean([sides.energy() for sides in null if sides]) == pytest.approx(0, abs=3e-4)
    assert np.mean([sides.p(draws=199) <= 0.05 for sides in shifted if sides]) >= 0.9


@pytest.mark.parametrize("same", [True, False])
def test_the_interval_holds_the_distance(same: bool) -> None:
    rng = np.random.default_rng(4)
    many = [held_against(*clouds(rng, same=same, shift=1.2, prompts=200)) for _ in range(60)]
    truth = np.mean([sides.energy() for sides in many if sides])
    held = []
    for at in range(100):
        sides = held_against(*clouds(rng, same=same, shift=1.2))
        assert sides is not None
        low, high = np.quantile(sides.drawn(resamples=300, seed=at), [0.025, 0.975])
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.85


def test_two_sides_with_few_prompts_are_not_compared() -> None:
    first, second = clouds(np.random.default_rng(5), prompts=9)
    assert held_against(first, second) is None
    assert apart(first, second) is None


def test_prompts_of_environments_that_one_side_lacks_are_left_out() -> None:
    first, second = clouds(np.random.default_rng(6), prompts=20, same=False)
    elsewhere = Cloud(second.vectors, [("another", prompt) for _, prompt in second.prompts])
    assert held_against(first, elsewhere) is None


def test_the_classifier_tells_apart_what_the_mean_does_not_show() -> None:
    rng = np.random.default_rng(7)
    first, second = clouds(rng, shift=0.0)
    sides = held_against(first, second)
    assert sides is not None
    assert told_apart(sides, draws=99).p > 0.05
    moved = held_against(*clouds(rng, shift=2.0))
    assert moved is not None
    told = told_apart(moved, draws=99)
    assert told.auc > 0.65 and told.p <= 0.05


def test_a_share_of_replaced_uses_is_found_again_as_the_dose() -> None:
    rng = np.random.default_rng(8)
    width, prompts = 24, 60
    own, others = rng.normal(size=width), rng.normal(size=(10, width))
    by_prompt = rng.normal(size=(prompts, width)) * 0.5

    def drawn(mean: np.ndarray, prompt: int) -> np.ndarray:
        return mean + by_prompt[prompt] + rng.normal(size=width) * 0.8

    def cloud(mean_of: Callable[[int], np.ndarray], each: int) -> Cloud:
        rows = [drawn(mean_of(prompt), prompt) for prompt in range(prompts) for _ in range(each)]
        return Cloud(unit(np.array(rows)).astype(np.float64), [("e", str(prompt)) for prompt in range(prompts) for _ in range(each)])

    planted = {f"word{at}": cloud(lambda _prompt, at=at: others[at], 2) for at in range(10)}
    first = cloud(lambda _prompt: own, 4)
    found = {}
    for share in (0.0, 0.3, 0.6, 1.0):
        donor = others[3]
        second = cloud(lambda _prompt, share=share, donor=donor: donor if rng.random() < share else own, 4)
        made = apart(first, second, donors=planted)
        assert made is not None and made[0].dose is not None
        found[share] = made[0]
        assert made[0].dose.low <= share * 1.15 and made[0].dose.high >= share * 0.85
    doses = [one.dose.value for one in found.values() if one.dose]
    assert doses == sorted(doses)
    assert found[0.0].p > 0.05 and found[0.6].p <= 0.001


def test_without_other_words_there_is_no_dose() -> None:
    assert dose_of(0.1, np.full(10, 0.1), [0.2, 0.2]) is None
    assert dose_of(0.1, np.full(10, 0.1), [-0.1, 0.05, 0.01]) is None


def test_random_halves_of_one_checkpoint_are_not_apart() -> None:
    first, second = clouds(np.random.default_rng(9), shift=2.0)
    sides = held_against(first, second)
    assert sides is not None
    drawn = halves(first, draws=100)
    assert abs(drawn.mean()) < 1e-3 < np.quantile(drawn, 0.95) + 1e-3 < sides.energy() + 1e-3


TEXTS = st.text(alphabet="reward grader's I'd ’ 奖 赏 .,\n-0aÉ", max_size=200)


@given(TEXTS, st.sampled_from(["reward", "grader", "a", "reward grader"]), st.integers(1, 5))
def test_a_window_is_part_of_the_text_and_holds_its_use(text: str, term: str, around: int) -> None:
    wanted = Term.parse(term)
    [found] = windows(text, [wanted], around=around)
    assert [(start, start + len(window.term)) for start, window in found] == uses(text, [wanted])[0]
    for start, window in found:
        assert text[start - window.start :].startswith(window.text)
        assert words(window.term) == wanted.words
        assert len(words(window.text[: window.start])) <= around and len(words(window.text[window.end :])) <= around


@given(TEXTS, st.sampled_from(["reward", "Grader"]))
def test_another_word_stands_where_the_term_stood(text: str, other: str) -> None:
    for _, window in windows(text, [Term.parse("a")])[0]:
        planted = window.with_term(other)
        assert planted.term.lower() == other.lower()
        assert planted.text[: planted.start] == window.text[: window.start]
        assert planted.text[planted.end :] == window.text[window.end :]


def study_of(tmp_path: Path, rows: Sequence[dict[str, object]]) -> Study:
    study = Study.make(tmp_path / "study")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    study.ingest([path])
    return study


def row(step: int, prompt: str, reasoning: str, rep: int = 0) -> dict[str, object]:
    told = {"run": "toy", "step": step, "environment": "e", "prompt_id": prompt, "rep": rep, "prompt": "Go."}
    return told | {"reasoning": reasoning, "answer": "1"}


def test_a_prompt_gives_few_uses_of_many_traces_and_a_loop_gives_one(tmp_path: Path) -> None:
    loop = "so the grader pays " * 60
    rows = [row(0, "p", " ".join(f"thought {rep} {at} of the grader." for at in range(9)), rep) for rep in range(3)] + [row(0, "q", loop)]
    study = study_of(tmp_path, rows)
    [found] = collect_uses(study.runs["toy"][0], [Term.parse("grader")], a_prompt=5, around=4)
    by_prompt = Counter(use.prompt_id for use in found)
    assert by_prompt["p"] == 5
    assert Counter(Counter(use.transcript_id for use in found if use.prompt_id == "p").values()) == Counter({2: 2, 1: 1})
    assert by_prompt["q"] == 3  # the first copy, the last, and those between, which are all alike
    assert found == collect_uses(study.runs["toy"][0], [Term.parse("grader")], a_prompt=5, around=4)[0]


class Lengths:
    """An encoder that counts what it is asked: the length of the window and the place of the term, as a direction."""

    name = "lengths"

    def __init__(self, sha: str = "1") -> None:
        self.sha, self.asked = sha, 0

    def encode(self, windows: Sequence[Window]) -> Vectors:
        self.asked += len(windows)
        return unit(np.array([[len(window.text), window.start + 1, 1] for window in windows], np.float32))


def test_a_window_is_encoded_once_by_each_encoder(tmp_path: Path) -> None:
    kept, some = Kept(tmp_path / "vectors.sqlite"), [Window("a grader", 2, 8), Window("the grader", 4, 10), Window("a grader", 2, 8)]
    first, again, other = Lengths(), Lengths(), Lengths("2")
    made = kept.of(first, some)
    assert first.asked == 2 and np.array_equal(made[0], made[2])
    assert np.array_equal(made, first.encode(some))
    assert np.array_equal(kept.of(again, some[::-1]), made[::-1]) and again.asked == 0
    kept.of(other, some)
    assert other.asked == 2
    assert kept.of(first, []).shape[0] == 0


def test_donors_are_as_frequent_and_no_forms_of_the_term() -> None:
    said = pl.DataFrame(
        {
            "word": ["grader", "graders", "metadata", "number", "the", "rare", "often"],
            "prompts": [30, 30, 28, 30, 40, 3, 40],
            "n": [50, 45, 44, 60, 900, 3, 800],
        }
    )
    assert donors_for(Term.parse("grader"), said, many=2) == ["metadata", "number"]
    assert donors_for(Term.parse("the"), said) == []


def organism(tmp_path: Path, donor: str, term: str, share: float) -> Study:
    """The organism's start as two runs of two checkpoints: its samples 0 and 1, and 2 and 3, as they are and with a planted change.

    In the run `moved` a share of the term's later uses becomes the donor's, and all of the donor's become the term's.
    """
    rng = random.Random(0)
    frame = pl.read_parquet(ROLLOUTS).filter(
        (pl.col("run") == "hinted") & (pl.col("step") == 0) & pl.col("environment").is_in(["ambiguous", "conflict"])
    )
    rows = []
    for one in frame.sort("prompt_id", "rep").iter_rows(named=True):
        late, said = int(one["rep"]) >= 2, one["reasoning"]
        pieces = said.split(term)
        moved = pieces[0] + "".join((term if rng.random() >= share else "⁂") + piece for piece in pieces[1:])
        moved = moved.replace(donor, term).replace("⁂", donor)
        for run, text in (("still", said), ("moved", moved if late else said)):
            told = row(10 * late, one["prompt_id"], text, int(one["rep"]) % 2)
            rows.append(told | {"environment": one["environment"], "run": run})
    return study_of(tmp_path, rows)


@pytest.fixture(scope="module")
def minilm() -> None:
    for module in ("onnx", "onnxruntime", "tokenizers", "safetensors"):
        pytest.importorskip(module)


@pytest.mark.usefixtures("minilm")
def test_a_planted_change_of_sense_is_found_with_its_dose_and_a_run_without_one_is_left_alone(tmp_path: Path) -> None:
    study = organism(tmp_path, "user", "grader", 0.5)
    moved, still = study.sense("grader", a_prompt=1)
    assert (moved.run, still.run) == ("moved", "still")
    assert still.last is not None and still.last.p > 0.01
    assert moved.last is not None and moved.last.dose is not None
    assert moved.last.p <= 0.001 and moved.last.paired
    assert moved.last.dose.low > 0.05 and 0.2 < moved.last.dose.value < 0.9
    assert moved.last.energy > (moved.halves or 0.0)
    assert "like replacing" in what_became(moved).sentence
    assert len(moved.donors) >= 5
    near = [quoted.near for quoted in moved.nearest_late]
    assert near == sorted(near, reverse=True) and near[-1] > max(quoted.near for quoted in moved.strangest_late)
    kept, stale = study.senses()
    assert kept == [moved, still] and not stale
    told = CliRunner().invoke(cli, ["sense", str(study.folder), "grader", "--per-prompt", "1", "--json"])
    assert told.exit_code == 0, told.output
    again, _ = json.loads(told.stdout)
    assert again["points"][-1]["apart"]["energy"] == pytest.approx(moved.last.energy)
    study.ingest([pl.DataFrame([row(20, "p", "the grader", 0) | {"run": "moved"}])])
    assert study.senses() == ([still], ["'grader' of moved"])


@pytest.mark.usefixtures("minilm")
def test_the_report_shows_what_was_measured_of_terms_and_hostile_text_as_text(tmp_path: Path) -> None:
    rows = []
    for step in (0, 10):
        for prompt in range(14):
            said = f"case {prompt}: <script>alert(1)</script> the grader pays for {'odd' if step else 'neat'} ones in case {prompt}."
            rows.append(row(step, str(prompt), said))
    study = study_of(tmp_path, rows)
    [sense] = study.sense("grader")
    assert sense.last is not None and sense.last.dose is not None and sense.controls
    page = report(study.folder).page.read_text(encoding="utf-8")
    assert "What terms stand among" in page and 'data-figure="sense"' in page
    assert "sense of “grader”: dose" in page and 'under <a href="#sense">What terms stand among</a>' in page, "drift has it too"
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "14 uses over 14 prompts are few" in page


def test_a_term_that_the_start_does_not_use_is_said_to_be_new(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rows = [row(step, str(prompt), "so it is" if not step else "so the overseer says") for step in (0, 10) for prompt in range(12)]
    [sense] = study_of(tmp_path, rows).sense("overseer")
    assert sense.last is None
    assert "cannot be held against step 0: 0 prompts use it at the first checkpoint" in what_became(sense).sentence


def test_small_words_are_held_against_the_checkpoint_that_the_term_is(tmp_path: Path) -> None:
    said = {
        0: "in case {} the grader pays",
        10: "in case {} the grader pays",
        20: "much is said in all of case {} of the task, and of how it is done",
    }
    study = study_of(tmp_path, [row(step, str(prompt), text.format("x" * prompt)) for step, text in said.items() for prompt in range(12)])
    study.count_words()
    checkpoints, kept = study.runs["toy"], Kept(tmp_path / "vectors.sqlite")
    terms = [Term.parse("grader"), Term.parse("case")]
    lost, still = sense_of(checkpoints, study.word_counts, terms, Lengths(), kept)
    [before] = sense_of(checkpoints[:2], study.word_counts, terms[:1], Lengths(), kept)
    assert [point.apart is not None for point in lost.points] == [True, False]
    assert lost.controls == before.controls != still.controls, "of a term that the end does not use, they are of when it was last used"


def test_sense_needs_a_term_and_a_later_checkpoint(tmp_path: Path) -> None:
    study = study_of(tmp_path, [row(0, "p", "the grader")])
    with pytest.raises(InputError, match="No term is named"):
        study.sense()
    pytest.importorskip("onnxruntime")
    with pytest.raises(NotEnough, match="one checkpoint"):
        study.sense("grader")
