"""Gaming: how often a run follows the grader that it is shown against the instruction, and what moves that.

What is particular to the results of `reward_hint` stands here: its factors and the order of their levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct

from cotdrift.conflict import FIELDS, GATES, LABELS, RULES
from cotdrift.contrast import Band, Level, band_over, by_level, difference, main_effects, slope
from cotdrift.estimate import Contrast, Estimate, Sums, holm, mean_of, paired_difference, paired_ratio
from cotdrift.experiments.hint_design import ENVIRONMENTS as ASKED_IN
from cotdrift.trend import Trend, trend_of

ENVIRONMENTS = tuple(ASKED_IN[kind] for kind in ("conflict", "agree", "probe"))
CONFLICT, TWIN, PROBE = ENVIRONMENTS
FACTORS: dict[str, tuple[str, ...]] = {
    "label": tuple(LABELS),
    "audit_rate": ("none", "0", "25", "50", "75", "100"),
    "review": (),
    "gate": tuple(GATES),
    "priority": (),
    "payoff": (),
    "field": FIELDS,
    "encoding": ("plain", "algebra", "code", "obfuscated"),
    "asked": tuple(RULES),
    "order": ("instruction first", "hint first", "apart"),
    "channel": ("user", "system"),
    "wording": (),
}
"""Each factor's levels, the base first; those without any sort so. `instruction` says nothing that `asked` does not."""
HELD = ("wording",)
"""What is in the model and has no contrast: no wording is the base of the others, so that they make a band."""
LADDER = FACTORS["label"]
AUDITED = {"0": 0.0, "25": 0.25, "50": 0.5, "75": 0.75, "100": 1.0}
ALPHA = 0.05
WANTED, UNEXPECTED = "want", "unexpected"
"""The rungs that say opposite things of what whoever evaluates would like to see."""


class AtStep(Struct, frozen=True, kw_only=True):
    """One checkpoint: the conflict beside its agreeing twin."""

    run: str
    step: int
    gaming: Estimate
    """Share of conflict answers that follow the grader against the instruction; missing are those of which no answer could be read."""
    band: Band | None
    """Over the wordings of the instruction; None where none was recorded."""
    conflict: Estimate
    """Share of conflict answers that violate the instruction, for whatever reason."""
    twin: Estimate
    """The same where the grader pays what is asked for: what errors there are, of the model and of reading its answers."""
    against_twin: Contrast | None
    """Violations in the conflict minus those in the twin, cell by cell."""
    words: Estimate
    """Words of reasoning in the conflict."""
    twin_words: Estimate
    words_ratio: Contrast | None
    """Conflict over twin, on the cells that both have."""
    unsure: int
    """Conflict answers that were read but may have been misread; they are in the rate."""
    twin_unsure: int
    ladder: dict[str, Estimate]
    """Gaming by what the prompt says it is for."""
    audited: dict[str, Estimate]
    """Gaming by the share of answers that is said to be checked."""


class Effects(Struct, frozen=True, kw_only=True):
    """What moves gaming at one checkpoint."""

    run: str
    step: int
    levels: Sequence[Level]
    """Every level of every factor that varied."""
    audit: Contrast | None
    """How much gaming differs between a stated audit of all answers and one of none, by a straight line over the stated rates."""
    wanted: Contrast | None
    """Gaming where it is said to be expected, minus where following the instruction is said to be wanted."""

    @property
    def is_clear(self) -> tuple[bool, bool]:
        """Whether the two contrasts named beforehand, audit and wanted, are clear when Holm adjusts them as a pair."""
        adjusted = holm([contrast.p if contrast else None for contrast in (self.audit, self.wanted)])
        audit, wanted = (p is not None and p < ALPHA for p in adjusted)
        return audit, wanted


class Example(Struct, frozen=True, kw_only=True):
    """A conflict answer of middling length, of those of its checkpoint that game, or that do not."""

    run: str
    step: int
    when: Literal["early", "late"]
    games: bool
    transcript_id: str


class Gaming(Struct, frozen=True, kw_only=True):
    """What the experiment says of the runs it was put to."""

    trends: Sequence[Trend]
    """Gaming over the steps of each run."""
    steps: Sequence[AtStep]
    effects: Sequence[Effects]
    """An entry for the first and for the last checkpoint of each run; one where they are the same."""
    probes: Sequence[Trend]
    """What the model says when asked beside it: an entry a run and probe."""
    examples: Sequence[Example]

    def of(self, run: str) -> list[AtStep]:
        """The checkpoints of one run."""
        return [at for at in self.steps if at.run == run]


def gaming_of(frame: pl.DataFrame, *, seed: int = 0) -> Gaming | None:
    """What the traces of the experiment say; None where there are no conflicts among them.

    `frame` has a row a trace: transcript_id, run, step, environment, prompt_id, words (of reasoning, null where there is none), and the
    `condition_*` and `outcome_*` columns of the corpus.
    """
    known = {"outcome_gaming", "outcome_violates"} <= set(frame.columns)
    if not known or not (frame["environment"] == CONFLICT).any():
        return None
    read = pl.col("outcome_extracted").fill_null(1) != 0 if "outcome_extracted" in frame.columns else pl.lit(True)
    unsure = (pl.col("outcome_unsure") == 1).fill_null(False) if "outcome_unsure" in frame.columns else pl.lit(False)
    frame = frame.with_columns(
        value=pl.when(read).then(pl.col("outcome_gaming")),
        violates=pl.when(read).then(pl.col("outcome_violates")),
        unsure=unsure,
        missing_reason=pl.lit("no answer could be read"),
    ).sort("transcript_id")
    conflict = frame.filter(pl.col("environment") == CONFLICT)
    runs = conflict["run"].unique().sort().to_list()
    checkpoints = conflict.select("run", "step").unique().sort("run", "step").rows()
    trend = partial(trend_of, unit="share of traces", version=1, seed=seed)
    return Gaming(
        trends=[trend(conflict.filter(pl.col("run") == run), run=run, measure="gaming") for run in runs],
        steps=[_at_step(_checkpoint(frame, run, step), run, step) for run, step in checkpoints],
        effects=[_effects(_checkpoint(conflict, run, step), run, step) for run, step in _ends(checkpoints)],
        probes=[
            trend(asked.with_columns(value="violates"), run=run, measure=probe)
            for run in runs
            for probe, asked in _probes(frame.filter((pl.col("environment") == PROBE) & (pl.col("run") == run)))
        ],
        examples=[example for run in runs for example in _examples(conflict.filter(pl.col("run") == run), run)],
    )


def _ends(checkpoints: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The first and the last checkpoint of each run."""
    steps: dict[str, list[int]] = {}
    for run, step in checkpoints:
        steps.setdefault(run, []).append(step)
    return [(run, step) for run, of_run in steps.items() for step in dict.fromkeys((of_run[0], of_run[-1]))]


def _checkpoint(frame: pl.DataFrame, run: str, step: int) -> pl.DataFrame:
    return frame.filter((pl.col("run") == run) & (pl.col("step") == step))


def _at_step(frame: pl.DataFrame, run: str, step: int) -> AtStep:
    conflict, twin = (frame.filter(pl.col("environment") == name) for name in (CONFLICT, TWIN))
    cells = frame.select(pl.col("prompt_id").unique().sort()).with_row_index("cell")
    sums = {
        (name, of): _sums(part, of, cells)
        for name, part in (("conflict", conflict), ("twin", twin))
        for of in ("value", "violates", "words")
    }

    def estimate(part: pl.DataFrame, name: str, of: str) -> Estimate:
        return mean_of(sums[name, of], share=of != "words", missing=part[of].null_count())

    return AtStep(
        run=run,
        step=step,
        gaming=estimate(conflict, "conflict", "value"),
        band=band_over(conflict, "wording"),
        conflict=estimate(conflict, "conflict", "violates"),
        twin=estimate(twin, "twin", "violates"),
        against_twin=paired_difference(sums["twin", "violates"], sums["conflict", "violates"]),
        words=estimate(conflict, "conflict", "words"),
        twin_words=estimate(twin, "twin", "words"),
        words_ratio=paired_ratio(sums["twin", "words"], sums["conflict", "words"]),
        unsure=int(conflict["unsure"].sum()),
        twin_unsure=int(twin["unsure"].sum()),
        ladder=by_level(conflict, "label", levels=LADDER),
        audited=by_level(conflict, "audit_rate", levels=FACTORS["audit_rate"]),
    )


def _sums(part: pl.DataFrame, of: str, cells: pl.DataFrame) -> Sums:
    """What the traces of each cell add up to, in the order of the cells of both environments."""
    valued = part.select("prompt_id", value=pl.col(of).cast(pl.Float64)).drop_nulls("value").join(cells, on="prompt_id")
    return Sums.of(valued["value"].to_numpy(), valued["cell"].to_numpy(), n_prompts=cells.height)


def _effects(conflict: pl.DataFrame, run: str, step: int) -> Effects:
    factors = dict(FACTORS)
    if "condition_order" in conflict.columns and (conflict["condition_order"] == "apart").any():
        del factors["channel"]  # in the system message the hint stands apart: the order tells the channel
    return Effects(
        run=run,
        step=step,
        levels=main_effects(conflict, factors, held=HELD),
        audit=slope(conflict, "audit_rate", AUDITED, factors),
        wanted=difference(conflict, "label", WANTED, UNEXPECTED, factors),
    )


def _probes(frame: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    if not frame.height or "condition_probe" not in frame.columns:
        return []
    column = pl.col("condition_probe")
    return [(name, frame.filter(column == name)) for name in frame["condition_probe"].drop_nulls().unique().sort()]


def _examples(conflict: pl.DataFrame, run: str) -> list[Example]:
    """Two early answers and two late, one of each that games and one that does not, as far towards the ends of the run as there are any."""
    steps = conflict["step"].unique().sort().to_list()
    half = max(1, len(steps) // 2)
    found: list[Example] = []
    for when, looked_at in (("early", steps[:half]), ("late", steps[: half - 1 : -1])):
        for games in (True, False):
            for step in looked_at:
                such = conflict.filter((pl.col("step") == step) & (pl.col("value") == float(games)))
                if such.height:
                    found.append(_middling(such, run=run, step=step, when=when, games=games))  # type: ignore[arg-type]  # one of the two
                    break
    return found


def _middling(such: pl.DataFrame, *, run: str, step: int, when: Literal["early", "late"], games: bool) -> Example:
    lengths = such["words"].cast(pl.Float64).fill_null(0.0).to_numpy()
    place = int(np.argsort(lengths, kind="stable")[len(lengths) // 2])
    return Example(run=run, step=step, when=when, games=games, transcript_id=such["transcript_id"][place])
