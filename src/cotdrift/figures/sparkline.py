"""A sparkline: one trend in the space of a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cotdrift.trend import Trend

WIDTH, HEIGHT, MARGIN = 96, 34, 4


def sparkline(trend: Trend) -> str:
    """An SVG of the trend and its band, with the onset as a line; made of numbers only, and hidden from screen readers."""
    points = [point for point in trend.points if point.value is not None]
    if len(points) < 2:
        return ""
    first, last = points[0].step, points[-1].step
    bounds = [bound for point in points for bound in (point.value, point.low, point.high) if bound is not None]
    least, span = min(bounds), (max(bounds) - min(bounds)) or 1.0

    def x(step: int) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (step - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - least) / span

    line = [(x(point.step), y(point.value)) for point in points if point.value is not None]
    upper = [(x(point.step), y(point.high)) for point in points if point.high is not None]
    lower = [(x(point.step), y(point.low)) for point in points if point.low is not None]
    onset = ""
    if trend.onset:
        at = f"{x(trend.onset.step):.1f}"
        onset = f'<line class="onset" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>'
    end = f'<circle cx="{line[-1][0]:.1f}" cy="{line[-1][1]:.1f}" r="2.6"/>'
    return (
        f'<svg class="sparkline" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true" focusable="false">'
        f'{onset}<polygon points="{_path([*upper, *reversed(lower)])}"/><polyline points="{_path(line)}"/>{end}</svg>'
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
