"""Motive: the rate in every arm at each checkpoint, and the posterior over signatures along the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import INK, NEITHER, NUMBERS, PAPER, PER_CENT, QUIET, RUNS, in_panels, legend_above
from cotdrift.signature import BASELINE, KINDS, SAID

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.motive import AtStep, Motive

COLOURS = {"confusion": RUNS[0], "motive": RUNS[1], "both": RUNS[3], "neither": NEITHER}
MOST_PANELS = 6
"""Checkpoints of a run that are drawn; the data hold them all."""

Rows = list[dict[str, Any]]


def rows_of(motive: Motive) -> dict[str, Rows]:
    """The rows of both figures, and of the table of sensitivities, in per cent."""
    return {
        "motive_arms": [row for at in motive.steps for row in _arms(motive, at)],
        "motive_posterior": [row for at in motive.steps for row in _posterior(motive, at)],
        "motive_silent": [row for at in motive.steps for row in _silent(motive, at)],
    }


def named(motive: Motive, environment: str, run: str) -> str:
    """A series as the page calls it: the run, and the environment where there are several."""
    return run if len({at.environment for at in motive.steps}) == 1 else f"{run}, {environment}"


def drawn_steps(steps: Sequence[AtStep]) -> list[AtStep]:
    """The checkpoints that get a panel: the first, the last, and some evenly between."""
    if len(steps) <= MOST_PANELS:
        return list(steps)
    places = [round(place * (len(steps) - 1) / (MOST_PANELS - 1)) for place in range(MOST_PANELS)]
    return [steps[place] for place in places]


def panel_of(motive: Motive, at: AtStep) -> str:
    """What a checkpoint's panel is called."""
    return f"{named(motive, at.environment, at.run)}, step {at.step:,}"


def _arms(motive: Motive, at: AtStep) -> Rows:
    baseline = at.rate(BASELINE)
    return [
        {
            "panel": panel_of(motive, at),
            "environment": at.environment,
            "run": at.run,
            "step": at.step,
            "arm": found.arm,
            "rank": rank,
            "rate": _percent(found.rate.value),
            "low": _percent(found.rate.low),
            "high": _percent(found.rate.high),
            "answers": found.rate.traces + found.rate.missing,
            "prompts": found.rate.prompts,
            "not_read": found.rate.missing,
            "baseline": _percent(baseline.value) if baseline else None,
            "difference": _percent(found.against.value) if found.against else None,
            "difference_low": _percent(found.against.low) if found.against else None,
            "difference_high": _percent(found.against.high) if found.against else None,
            "p": found.against.p if found.against else None,
        }
        for rank, found in enumerate(at.arms)
    ]


def _posterior(motive: Motive, at: AtStep) -> Rows:
    if at.signature is None:
        return []
    return [
        {
            "panel": named(motive, at.environment, at.run),
            "environment": at.environment,
            "run": at.run,
            "step": at.step,
            "signature": kind,
            "rank": rank,
            "posterior": at.signature.posterior[kind],
            "verdict": SAID[at.signature.verdict],
            **{
                f"{part}_{of}": _percent(getattr(share, of))
                for part, share in at.signature.parts.items()
                for of in ("value", "low", "high")
            },
        }
        for rank, kind in enumerate(KINDS)
    ]


def _silent(motive: Motive, at: AtStep) -> Rows:
    found = at.sensitivity
    if found is None:
        return []
    contrasts = {name: getattr(found, name) for name in ("whole", "spoken", "silent", "among_spoken", "among_silent")}
    return [
        {
            "run": named(motive, at.environment, at.run),
            "step": at.step,
            "of": name.replace("_", " "),
            "baseline_minus_flipped": _percent(contrast.value),
            "low": _percent(contrast.low),
            "high": _percent(contrast.high),
            "p": contrast.p,
            "prompts": contrast.prompts,
            "told_by": found.by,
        }
        for name, contrast in contrasts.items()
        if contrast
    ]


def arms(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a checkpoint: the rate in every arm, and across them the baseline's."""
    import altair as alt  # half a second to import

    order = list(dict.fromkeys(row["arm"] for row in sorted(rows, key=lambda row: row["rank"])))
    y = alt.Y("arm:N", title=None, sort=order, axis=alt.Axis(grid=False, labelColor=INK, labelLimit=90, minExtent=64))
    scale = alt.Scale(domain=[0, 100])
    x = alt.X("rate:Q", title=None, axis=alt.Axis(values=[0, 25, 50, 75, 100], labelExpr=PER_CENT, grid=True), scale=scale)
    about = [alt.Tooltip("arm:N"), *(alt.Tooltip(f"{name}:Q") for name in ("rate", "low", "high", "difference", "difference_low"))]
    about += [alt.Tooltip(f"{name}:Q") for name in ("difference_high", "prompts", "answers", "not_read")]
    of_baseline = alt.condition(f"datum.arm === '{BASELINE}'", alt.value(QUIET), alt.value(RUNS[0]))
    base = alt.Chart()
    layers = [
        base.mark_rule(strokeWidth=1, strokeDash=[4, 3], color=QUIET).encode(alt.X("max(baseline):Q", title=None, scale=scale)),
        base.mark_rule(strokeWidth=1.6, opacity=0.7).encode(
            alt.X("low:Q", title=None, scale=scale), alt.X2("high:Q"), y, color=of_baseline
        ),
        base.mark_circle(size=48, opacity=1, stroke=PAPER, strokeWidth=1).encode(x, y, color=of_baseline, tooltip=about),
    ]
    return in_panels(layers, rows, height=alt.Step(20))


def posterior(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: at each step a bar of the four posteriors."""
    import altair as alt  # half a second to import

    colour = alt.Color(
        "signature:N",
        scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
        legend=legend_above(),
    )
    x = alt.X("step:O", title=None, axis=alt.Axis(labelAngle=0, labelExpr=NUMBERS))
    y = alt.Y("posterior:Q", title=None, stack="zero", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1]))
    about = [alt.Tooltip("step:Q"), alt.Tooltip("signature:N"), alt.Tooltip("posterior:Q", format=".3f"), alt.Tooltip("verdict:N")]
    about += [alt.Tooltip(f"{part}_value:Q", format=".0f", title=f"{part}, % of answers") for part in ("base", "confusion", "motive")]
    bars = alt.Chart().mark_bar(stroke=PAPER, strokeWidth=1).encode(x, y, colour, order=alt.Order("rank:Q"), tooltip=about)
    return in_panels([bars], rows, height=150)


FIGURES = {"motive_arms": arms, "motive_posterior": posterior}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
