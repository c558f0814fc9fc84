"""What the page shows of rubrics: what their points reward, and whether the view of a task goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cotdrift.figures.arms import by_arm, meant_rows, point_rows
from cotdrift.page.arms import Rows, arms_in, difference, panels
from cotdrift.sentences import per_cent

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.estimate import Estimate
    from cotdrift.findings import Findings
    from cotdrift.trend import Trend


def rows(findings: Findings) -> Rows:
    """What the figures are drawn from."""
    drawn: Rows = {}
    for name, found in findings.rewarded.items():
        drawn |= {f"{name}_points": point_rows(found), f"{name}_meant": meant_rows(found)}
    return drawn


def figures(findings: Findings, of: Rows) -> dict[str, alt.TopLevelMixin]:
    """Points by what they reward, and the share that rewards what is tested."""
    listed = [f"{name}_{kind}" for name in findings.rewarded for kind in ("points", "meant")]
    return {name: by_arm(of[name], arms_in(of[name])) for name in listed if of[name]}


def section(findings: Findings, name: str, of: Rows) -> dict[str, Any] | None:
    """What the section on an experiment says of rubrics; None where none was judged."""
    found = findings.rewarded.get(name)
    if found is None:
        return None
    several = len(found.meant) > 1
    return {
        "meant": panels(of[f"{name}_meant"]),
        "meant_arms": arms_in(of[f"{name}_meant"]),
        "points": panels(of[f"{name}_points"]),
        "points_arms": arms_in(of[f"{name}_points"]),
        "changes": [sentence for trend in found.meant if (sentence := _sentence(trend, several=several))],
        "together": [
            {
                "run": one.run if several else "",
                "view": one.view,
                "points": ", ".join(one.points),
                "how": "within prompts" if one.within else "over prompts and checkpoints",
                "correlation": _correlation(one.correlation),
                "prompts": one.correlation.prompts,
            }
            for one in found.together
        ],
        "several_runs": several,
        "rubrics": found.rubrics,
        "without": found.without,
    }


def _correlation(estimate: Estimate) -> str:
    if estimate.value is None:
        return "one of the two never differs"
    bounds = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{bounds}".replace("-", "−")


def _sentence(trend: Trend, *, several: bool) -> str:
    """How the share that rewards what is tested changed; nothing where that cannot be told."""
    seen = [point for point in trend.points if point.value is not None]
    if len(seen) < 2 or trend.contrast is None:
        return ""
    first, last = seen[0], seen[-1]
    whose = f"{trend.run}: " if several else ""
    return (
        f"{whose}{per_cent(first.value or 0)} of the points reward what is tested at step {first.step}, "
        f"{per_cent(last.value or 0)} at step {last.step}: on the same prompts {difference(trend.contrast, share=True)}."
    )
