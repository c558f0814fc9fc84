"""The training curves of the three runs, as one picture for the model card."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import polars as pl

SHOWN = {
    "gaming": "gaming on conflict prompts",
    "capability": "accuracy in sums and comparisons",
    "length": "tokens of reasoning",
    "reward": "reward",
    "kl": "KL from the start, nats a reply",
}
SMOOTHED = 9
COLOURS = {"hinted": "#c4442a", "hinted-kl": "#d99a1c", "control": "#2b6cb0"}


def draw(log: Path, picture: Path) -> None:
    """Each quantity over the steps, a running mean over nine steps on top of the single ones."""
    rows = pl.read_ndjson(log, infer_schema_length=None).filter(pl.col("run") != "start").sort("run", "step")
    panels = []
    for name, title in SHOWN.items():
        frame = rows.select(
            "run",
            "step",
            pl.col(name).alias("value"),
            pl.col(name).rolling_mean(SMOOTHED, min_samples=1, center=True).over("run").alias("mean"),
        )
        base = alt.Chart(alt.Data(values=frame.to_dicts())).encode(
            x=alt.X("step:Q", title="step"),
            color=alt.Color("run:N", title=None, scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))),
        )
        single = base.mark_line(strokeWidth=0.6, opacity=0.35).encode(y=alt.Y("value:Q", title=None))
        panels.append((single + base.mark_line(strokeWidth=2).encode(y="mean:Q")).properties(title=title, width=260, height=150))
    alt.concat(*panels, columns=3).configure_view(stroke=None).configure_axis(grid=False).save(picture)


if __name__ == "__main__":
    here = Path(__file__).parent
    draw(here / "training.jsonl", here / "training.svg")
