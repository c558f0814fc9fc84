"""The sections on ways of sampling and on rubrics: what the numbers say is said, and no text acts."""

from typing import Any

import numpy as np
import polars as pl

from cotdrift.arms import Tried, tried
from cotdrift.declared import Declared
from cotdrift.report import page
from cotdrift.rewarded import KINDS, VIEWS, Rewarded, rewarded
from cotdrift.swayed import Swayed, adjusted, swayed

HOSTILE = "</script><img src=x onerror=alert(1)> \u202egnp \x00 {{ 7 * 7 }} ']\"]"


def declared(name: str, *arms: str, environments: tuple[str, ...]) -> Declared:
    return Declared(
        name=name, summary="Does it?", arms=arms, outcomes={"games": "It does."}, contrasts=(), environments=environments, settings={}
    )


def sampled(*arms: str, runs: tuple[str, ...] = ("hinted", "control"), moved: float = 0.0) -> tuple[Tried, list[Swayed]]:
    """In `hinted` training adds 0.7; the last arm adds `moved`, and to the length as well."""
    told = declared("sampling", *arms, environments=("s",))
    rng = np.random.default_rng(1)
    rows = []
    for run in runs:
        for step in (0, 160):
            for place, arm in enumerate(arms):
                more = 0.7 * (step > 0) * (run == runs[0]) + moved * (place == len(arms) - 1)
                for prompt in range(20):
                    for _ in range(4):
                        games, words = float(rng.random() < 0.1 + more), rng.normal(100 + 50 * (place == len(arms) - 1), 9)
                        rows.append((run, step, "s", f"p{prompt}", arm, arm, games, words))
    schema = ["run", "step", "environment", "prompt_id", "condition_arm", "setting", "outcome_games", "words"]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    found = tried(frame, told)
    assert found is not None
    every = []
    for run in runs:
        of_run = [
            swayed(frame.with_columns(value=pl.col(column)), told, run=run, measure=name, unit=unit)
            for name, column, unit in (("games", "outcome_games", "share of traces"), ("reasoning_words", "words", "words"))
        ]
        every += adjusted(one for one in of_run if one)
    return found, every


def written() -> tuple[Tried, Rewarded]:
    """Rubrics that move from what is tested to cunning, with a view of the task that goes along."""
    kinds = ("honesty", "success")
    told = declared("rubrics", "act", "rubric", environments=tuple(f"rubrics ({kind})" for kind in kinds))
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    points: dict[str, list[float]] = {kind: [] for kind in KINDS}
    puzzled: list[float] = []
    for step in (0, 50, 100):
        for place in range(16):
            kind = kinds[place % 2]
            late = step / 200 + place / 64
            for arm in ("act", "rubric"):
                rows.append(
                    {
                        "transcript_id": f"{step} {place} {arm}",
                        "run": "hinted",
                        "step": step,
                        "environment": f"rubrics ({kind})",
                        "prompt_id": f"p{place}",
                        "condition_arm": arm,
                        "outcome_games": float(arm == "rubric"),
                    }
                )
                shares = rng.dirichlet([20 * (1 - late) * (one == kind) + 20 * late * (one == "cunning") + 0.5 for one in KINDS])
                for one, share in zip(KINDS, shares, strict=True):
                    points[one].append(float(share))
                puzzled.append(float(rng.random() < late))
    frame = pl.DataFrame(rows)

    def values(given: list[float]) -> pl.DataFrame:
        return frame.select("transcript_id", value=pl.Series(given), missing_reason=pl.lit(None, pl.String))

    views = {name: values(puzzled if "puzzle" in name else [0.0] * len(puzzled)) for name in VIEWS}
    found = rewarded(frame, {kind: values(given) for kind, given in points.items()}, views, told)
    assert found is not None
    made = tried(frame, told)
    assert made is not None
    return made, found


def test_what_settings_cannot_explain_is_said_with_its_numbers(make_findings: Any) -> None:
    found, every = sampled("usual", "cold", "hot")
    text = page(make_findings(n_words=40, tried=[found], swayed={"sampling": every}))
    assert "hinted: games differs by" in text
    assert "no setting that was tried moves it by more than" in text
    assert "<strong>cannot explain it</strong>" in text
    assert 'data-figure="sampling_settings" data-panel="reasoning words, hinted"' in text
    assert "hot − usual" in text or "hot − cold" in text, "the setting that moves the length is named"
    assert "no clear difference" in text


def test_where_nothing_moves_that_is_said(make_findings: Any) -> None:
    found, every = sampled("usual", "cold", runs=("control", "hinted"))
    still = [one for one in every if (one.run, one.measure) == ("hinted", "games")]
    text = page(make_findings(n_words=40, tried=[found], swayed={"sampling": still}))
    assert "None of 1 measures differs clearly between the first and the last checkpoint, and no setting clearly moves one." in text


def test_what_rubrics_reward_is_drawn_and_held_against_the_view_of_the_task(make_findings: Any) -> None:
    made, found = written()
    text = page(make_findings(n_words=40, tried=[made], rewarded={"rubrics": found}))
    assert 'data-figure="rubrics_meant" data-panel="for what is tested, hinted"' in text
    assert 'data-figure="rubrics_points" data-panel="points for, hinted"' in text
    assert "48 rubrics." in text
    assert "of the points reward what is tested at step 0" in text
    assert "<td>success, cunning</td>" in text
    assert "one of the two never differs" in text, "nobody took it for an alignment test"


def test_no_name_acts_on_the_page(make_findings: Any) -> None:
    found, every = sampled("usual", f"hot{HOSTILE}", runs=(f"hinted{HOSTILE}", "control"), moved=0.2)
    text = page(make_findings(n_words=40, tried=[found], swayed={"sampling": every}))
    assert text.count("<script") == 3
    assert "<img src=x" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
