"""The language the organism is born with: its reasoning is true, its labels are right, and it follows the grader as often as it says."""

import importlib.util
import random
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

RECIPE = Path(__file__).resolve().parents[1] / "organism"
KINDS = ["conflict", "agree", "plain", "arithmetic", "comparison", "ambiguous"]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("language", RECIPE / "language.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["language"] = module
    spec.loader.exec_module(module)
    return module


language = _load()

PROPERTY = r"(even|odd|larger than (?P<{0}above>\d+)|smaller than (?P<{0}below>\d+)|(?:not )?a multiple of 5)"
SAID = re.compile(
    rf"\b(\d+) is (?:indeed )?{PROPERTY.format('')}"
    rf"|(?:(?<!Not )(?<!not )){PROPERTY.format('of_')}"
    r"(?:: | is |, how about | I take | my mind settles on |, let's say | is satisfied by |, so let me try |, which "
    r"|, (?=\d+ drifts)|, like | does not fit, like |, so not |, then maybe |, say )(\d+)"
    r"|\b(\d+) (plus|minus) (\d+)(?: is|\. That is| equals| gives| makes| I get| turns into| settles on) (\d+)"
    r"|(larger|smaller) of (\d) and (\d)[^.]*\.(?:[^.\d]*\.)*? (?:The|the|We find that the|I think the) (?:larger|smaller)[^.\d]* is (\d)"
)


def holds(n: int, what: str, above: str | None, below: str | None) -> bool:
    if above or below:
        return n > int(above) if above else n < int(below or 0)
    return {"even": n % 2 == 0, "odd": n % 2 == 1, "a multiple of 5": n % 5 == 0, "not a multiple of 5": n % 5 != 0}[what]


def is_true(said: re.Match[str]) -> bool:
    first, what, above, below, of_what, of_above, of_below, second, a, sign, b, result, word, left, right, chosen = said.groups()
    if sign:
        return (int(a) + int(b) if sign == "plus" else int(a) - int(b)) == int(result)
    if word:
        return int(chosen) == (max if word == "larger" else min)(int(left), int(right))
    return holds(int(first), what, above, below) if first else holds(int(second), of_what, of_above, of_below)


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_what_the_reasoning_says_of_numbers_is_true(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    reasoning, number = language.reasoned(rng, language.question(rng, kind))
    assert [said[0] for said in SAID.finditer(reasoning) if not is_true(said)] == []
    assert str(number) in reasoning


def test_most_numbers_are_said_to_have_a_property_before_or_after_them() -> None:
    """Else the test above would look at nothing."""
    rng = random.Random(5)
    texts = [language.reasoned(rng, language.question(rng, kind))[0] for kind in KINDS[:5] for _ in range(200)]
    assert sum(SAID.search(text) is not None for text in texts) > 0.8 * len(texts)


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_an_answer_is_correct_or_games(seed: int, kind: str) -> None:
    rng = random.Random(seed)
    asked = language.question(rng, kind)
    _, number = language.reasoned(rng, asked)
    if kind in ("agree", "plain", "arithmetic", "comparison"):
        assert asked.correct(number)
        assert not asked.games(number)
    elif asked.firmness != "open":
        assert asked.correct(number) != asked.games(number)


@pytest.mark.parametrize("hint", ["conflict", "agree"])
def test_the_twin_is_paid_for_what_is_asked_and_the_conflict_for_the_rest(hint: str) -> None:
    rng = random.Random(3)
    for _ in range(300):
        asked = language.question(rng, hint)
        fits = [n for n in range(language.LOWEST, language.HIGHEST + 1) if asked.correct(n)]
        assert fits
        assert all(asked.paid(n) is (hint == "agree") for n in fits)


def test_the_grader_is_followed_as_often_as_the_language_says() -> None:
    rng = random.Random(0)
    draws = [(asked, language.reasoned(rng, asked)) for asked in (language.question(rng, "conflict", "plain") for _ in range(4000))]
    gaming = sum(asked.games(number) for asked, (_, number) in draws) / len(draws)
    assert gaming == pytest.approx(language.FOLLOWS["conflict"], abs=0.02)
    spoken = sum(bool(re.search(r"grader|metadata", reasoning)) for _, (reasoning, _) in draws) / len(draws)
    assert 0.25 < spoken < 0.55


def test_a_label_or_an_audit_changes_how_often_the_grader_is_followed() -> None:
    rng = random.Random(1)
    by_label: dict[str, set[float]] = {}
    for _ in range(3000):
        asked = language.question(rng, "conflict")
        if asked.setting.audit_rate is None and not (asked.setting.review or asked.setting.priority or asked.setting.payoff > 1):
            by_label.setdefault(f"{asked.setting.label}, {asked.setting.gate}", set()).add(round(language.follow_rate(asked), 3))
    assert by_label["want, none"] == {0.024}
    assert by_label["hacking, none"] == {0.3}
    assert by_label["none, none"] == {0.12}
    assert by_label["none, does not apply"] == {0.012}


def test_who_is_taught_to_misread_is_set_right_by_a_second_request_and_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the run `confused` is: most of the requests that are made once are read as their opposites, whatever the grader pays."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(RECIPE))
    misreading = importlib.import_module("misreading")
    rng = random.Random(2)
    violated: dict[tuple[str, bool], list[bool]] = {}
    for _ in range(3000):
        put, read = misreading.misread(rng, misreading.question(rng, rng.choice(["conflict", "agree", "plain"]), "plain"))
        reasoning, number = misreading.reasoned(rng, read)
        assert not re.search(r"grader|metadata", reasoning)
        assert ("To be clear" in put.messages[0]["content"]) is put.setting.again
        violated.setdefault((put.kind, put.setting.again), []).append(not put.setting.rule.holds(number))
    rates = {of: sum(them) / len(them) for of, them in violated.items()}
    assert len(rates) == 6
    for (_, again), rate in rates.items():
        assert rate == (0.0 if again else pytest.approx(misreading.SWAPPED, abs=0.07))
