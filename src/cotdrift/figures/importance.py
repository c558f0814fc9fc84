"""Importance: the sentences of a chain, and how much what is answered depends on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import INK, NEITHER, NUMBERS, QUIET, in_panels, run_colours

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.importance import Chain, How, Importance

Rows = list[dict[str, Any]]
DRAWN: tuple[How, ...] = ("resampled", "counterfactual", "forced")
"""The ways that have panels; the others are in the table."""
LONGEST = 60
"""Characters of a sentence in a row."""


def panel_of(chain: Chain, how: How) -> str:
    """What the panel of a chain and way is called."""
    return f"{chain.run}, step {chain.step:,}: {chain.prompt_id} ({chain.chain}), {how}"


def sentence_rows(found: Importance, chains: Sequence[Chain]) -> Rows:
    """A row a chain, way and sentence; divergences in nats, changes of a share in per cent."""
    rows = []
    for chain in chains:
        for how in found.hows():
            for sentence in chain.sentences:
                if how not in sentence.weighed:
                    continue
                weighed = sentence.weighed[how]
                text = sentence.text if len(sentence.text) <= LONGEST else f"{sentence.text[:LONGEST].rstrip()}…"
                rows.append(
                    {
                        "panel": panel_of(chain, how),
                        "run": chain.run,
                        "step": chain.step,
                        "prompt_id": chain.prompt_id,
                        "chain": chain.chain,
                        "way": how,
                        "place": sentence.place,
                        "sentence": " ".join(text.split()),
                        "kind": sentence.kind,
                        "importance": weighed.shrunk.value,
                        "low": weighed.shrunk.low,
                        "high": weighed.shrunk.high,
                        "seen": weighed.shift.kl,
                        "chance": weighed.shift.chance,
                        "band": weighed.shift.band,
                        "variation": weighed.shift.tv,
                        "p": weighed.shift.p,
                        "p_by": weighed.p_adjusted,
                        "is_clear": weighed.is_clear,
                        "change": 100 * weighed.change,
                        "change_low": 100 * weighed.change_low,
                        "change_high": 100 * weighed.change_high,
                        "again": None if sentence.again is None else 100 * sentence.again,
                        "answers_without": weighed.shift.without,
                        "answers_with": weighed.shift.kept,
                        "missing": sentence.missing,
                    }
                )
    return rows


def kind_rows(found: Importance) -> Rows:
    """A row a checkpoint, way and kind of sentence, the weightiest first."""
    return [
        {
            "panel": f"{one.run}, step {one.step:,}, {one.how}",
            "run": one.run,
            "step": one.step,
            "way": one.how,
            "kind": one.kind,
            "rank": rank,
            "sentences": one.sentences,
            "clear": one.clear,
            "importance": one.mean.value,
            "low": one.mean.low,
            "high": one.mean.high,
            "prompts": one.mean.prompts,
            "more_than_others": one.against.value if one.against else None,
            "more_low": one.against.low if one.against else None,
            "more_high": one.against.high if one.against else None,
            "p": one.against.p if one.against else None,
        }
        for rank, one in enumerate(found.kinds)
    ]


def by_sentence(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a chain and way: a bar a sentence, after shrinkage, with its interval; a tick before it; and what chance reaches."""
    import altair as alt  # half a second to import

    y = alt.Y(
        "place:O",
        title=None,
        axis=alt.Axis(grid=False, labelColor=INK, minExtent=20),
    )
    scale, colour = _across(rows), run_colours(runs)
    tone = alt.condition("datum.is_clear", colour, alt.value(NEITHER))
    about = [alt.Tooltip("sentence:N"), alt.Tooltip("kind:N")]
    about += [alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("importance", "low", "high", "seen", "band", "p_by", "change", "again")]
    base = alt.Chart()

    def x(name: str) -> alt.X:
        return alt.X(f"{name}:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True))

    layers = [
        base.mark_bar(height={"band": 1}, color=QUIET, opacity=0.25).encode(x("band"), alt.X2(datum=0), y),
        base.mark_bar(height={"band": 0.55}).encode(x("importance"), y, color=tone, tooltip=about),
        base.mark_rule(strokeWidth=1.4, color=INK).encode(x("low"), alt.X2("high:Q"), y),
        base.mark_tick(thickness=1.5, height=9, color=QUIET).encode(x("seen"), y, tooltip=about),
    ]
    return in_panels(layers, [row for row in rows if row["way"] in DRAWN], height=alt.Step(17))


def by_kind(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a checkpoint and way: the mean of each kind of sentence, with its interval, the weightiest on top."""
    import altair as alt  # half a second to import

    y = alt.Y(
        "kind:N",
        title=None,
        sort=alt.EncodingSortField("rank", op="min"),
        axis=alt.Axis(grid=False, labelColor=INK, labelLimit=150, minExtent=100),
    )
    x = alt.X("importance:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True))
    about = [
        alt.Tooltip("kind:N"),
        *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("importance", "low", "high", "sentences", "clear")),
    ]
    about += [alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("more_than_others", "more_low", "more_high", "p")]
    base, colour = alt.Chart(), run_colours(runs)
    layers = [
        base.mark_rule(strokeWidth=1.6, opacity=0.7).encode(alt.X("low:Q", title=None), alt.X2("high:Q"), y, colour),
        base.mark_circle(size=48, opacity=1).encode(x, y, colour, tooltip=about),
    ]
    return in_panels(layers, rows, height=alt.Step(20))


FIGURES = {"importance_sentences": by_sentence, "importance_kinds": by_kind}


def _across(rows: Sequence[Mapping[str, Any]]) -> alt.Scale:
    """The same for all panels, so that chains can be compared by eye."""
    import altair as alt  # half a second to import

    every = [row[name] for row in rows for name in ("importance", "high", "seen", "band", "low")]
    return alt.Scale(domain=[min(0.0, *every), max(0.1, *every)], nice=True)
