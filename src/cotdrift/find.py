"""Find: what there is to say of a study, put together for its report."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import get_args

import polars as pl

from cotdrift.arms import Tried, tried
from cotdrift.continuations import OWN, PATTERN, SHARED, Continued, continued
from cotdrift.declared import declared_in
from cotdrift.errors import NotEnough
from cotdrift.find_graded import Judged, find_judged
from cotdrift.findings import Exclusion, Findings, Passages, Sampled
from cotdrift.foretold import Foretold, foretold
from cotdrift.gaming import ENVIRONMENTS, Gaming, gaming_of
from cotdrift.scores import scores_of
from cotdrift.sentences import clear_changes
from cotdrift.study import Against, Study
from cotdrift.trend import Trend
from cotdrift.values import Values

SHOWN_TERMS = 12
"""How many terms of a run get a curve and passages."""
SHOWN_ENVIRONMENTS = 12
SHOWN_USES = 6
"""How many uses of a term are shown, early and late each."""
COMPARED_BY_ENVIRONMENT = 4
"""How many measures are looked at within each environment: length, and those that changed most surely."""


def find(
    study: Study,
    *,
    watch: Path | None = None,
    actions: Sequence[str] = (),
    truths: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Findings:
    """Measure what is not measured yet, compare, and gather what the report says.

    `actions` and `truths` are for the judgments in the study: what means misbehaviour, and of which grader an outcome is the truth.
    """
    runs = study.chosen()
    study.measure()
    judged = find_judged(study, actions=actions, truths=truths, seed=seed)
    values = {name: study.values(name) for name in [*study.measures(), *study.outcomes]}
    trends = [of.trend(run, seed=seed) for of in values.values() for run in runs]
    terms = _terms(study, watch, seed)
    shown = {run: _worth_showing(run, terms) for run in runs}
    passages = [_passages(study, term, run) for run, terms_of_run in shown.items() for term in terms_of_run]
    gaming, experiments, kept = _gaming(study, values, seed), _tried(study, seed), foretold(study, seed=seed)
    went_on = _continued(study, values, seed)
    ids = {use.transcript_id for found in passages for use in (*found.early, *found.late)}
    ids |= {example.transcript_id for found in (gaming, *went_on) if found for example in found.examples}
    ids |= {passage.transcript_id for passage in (judged.passages if judged else ())}
    rejected = sum(source.rejected for source in study.corpus.sources)
    return Findings(
        title=study.folder.resolve().name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sampled=_sampled(study),
        trends=trends,
        measures={name: measure.summary for name, measure in study.measures().items()},
        environments=_by_environment(trends, values, seed),
        terms={against: rows.to_dicts() for against, rows in terms.items()},
        term_trends=[trend for run, names in shown.items() for name in names for trend in study.trend(name, run=run, term=True, seed=seed)],
        passages=passages,
        traces=list(study.corpus.traces(*ids)) if ids else [],
        serving=study.check(trends, seed=seed),
        gaming=gaming,
        continued=went_on,
        judged=judged,
        tried=experiments,
        foretold=kept if kept.verdicts or kept.faults else None,
        exclusions=_exclusions(study, [*trends, *(judged.trends if judged else ())], rejected),
        rejected=rejected,
        warnings=[*_lacking(judged), *_warnings(study, trends)],
        methods=[*_methods(gaming, judged, went_on), *_of_frame(experiments, kept)],
        versions=_versions(),
    )


def _terms(study: Study, watch: Path | None, seed: int) -> dict[Against, pl.DataFrame]:
    found = {}
    for against in get_args(Against):
        try:
            found[against] = study.terms(against=against, watch=watch, seed=seed)
        except NotEnough:
            continue  # a run of one checkpoint has no start, one without answers none of these
    return found


def _worth_showing(run: str, terms: dict[Against, pl.DataFrame]) -> list[str]:
    """Terms to draw and quote: those clear against the start, or where there is none against people, the surest first; then watched."""
    rows = terms.get("start", terms.get("human"))
    if rows is None:
        return []
    rows = rows.filter(pl.col("run") == run).sort(pl.col("z").abs(), descending=True, nulls_last=True)
    clear = rows.filter(pl.col("p_adjusted") < 0.05)["term"].to_list()
    watched = rows.filter((pl.col("family") == "watch") & (pl.col("count") > 0))["term"].to_list()
    return list(dict.fromkeys([*clear, *watched, *rows["term"].to_list()]))[:SHOWN_TERMS]


def _passages(study: Study, term: str, run: str) -> Passages:
    found = study.passages(term, run=run, limit=SHOWN_USES)
    steps = [checkpoint.step for checkpoint in study.runs[run]]
    first_late = steps[max(1, len(steps) // 2)] if len(steps) > 1 else steps[0] + 1
    return Passages(
        term=term, run=run, early=[use for use in found if use.step < first_late], late=[use for use in found if use.step >= first_late]
    )


def _gaming(study: Study, values: dict[str, Values], seed: int) -> Gaming | None:
    """What the traces of reward_hint say, if there are any."""
    ours = study.corpus.scan().filter(pl.col("environment").is_in(ENVIRONMENTS))
    columns = pl.col("transcript_id", "run", "step", "environment", "prompt_id"), pl.col("^(condition|outcome)_.*$")
    words = values["reasoning_words"].frame.select("transcript_id", words="value")
    return gaming_of(ours.select(*columns).collect().join(words, on="transcript_id", how="left"), seed=seed)


def _continued(study: Study, values: dict[str, Values], seed: int) -> list[Continued]:
    """What the traces of prefixes say of each behaviour that was looked for in them: the pattern's, and every grader's."""
    ours = pl.col("environment").is_in([SHARED, OWN])
    told = study.corpus.scan().filter(ours).select("transcript_id", "environment", "prompt_id", pl.col("^condition_margin$")).collect()
    if "condition_margin" not in told.columns:
        return []
    one_each = told.filter(pl.col("environment") == SHARED).unique(["prompt_id", "condition_margin"], maintain_order=True)["transcript_id"]
    ends: dict[str, str] = {}
    for trace in study.corpus.traces(*one_each):
        ends[trace.prompt_id] = max(ends.get(trace.prompt_id, ""), " ".join(trace.begun.split()), key=len)
    looked_for = [values[PATTERN]] if PATTERN in values else []
    looked_for += [study.values(score) for grader in study.graders().values() for score in scores_of(grader)]
    margins = told.select("transcript_id", "condition_margin")
    found = [
        continued(of.frame.filter(ours).join(margins, on="transcript_id", how="left"), of.measure, of.unit, ends=ends, seed=seed)
        for of in looked_for
    ]
    return [one for one in found if one is not None]


def _tried(study: Study, seed: int) -> list[Tried]:
    """What the experiments say that declared themselves in this study."""
    columns = pl.col("run", "step", "environment", "prompt_id"), pl.col("^(condition_arm|outcome_.*)$")
    found = [
        tried(
            study.corpus.scan().filter(pl.col("environment").is_in(declared.environments)).select(*columns).collect(), declared, seed=seed
        )
        for declared in declared_in(study.folder)
    ]
    return [one for one in found if one is not None]


def _by_environment(trends: Sequence[Trend], values: dict[str, Values], seed: int) -> dict[str, Sequence[Trend]]:
    """Length and the measures that changed most surely, within each of the largest environments."""
    sizes = next(iter(values.values())).frame.group_by("environment").len().sort("len", "environment", descending=[True, False])
    if sizes.height < 2:
        return {}
    clear = clear_changes(trends)
    surest = list(dict.fromkeys(["reasoning_words", *(name for _, name in sorted(clear, key=clear.__getitem__))]))[:COMPARED_BY_ENVIRONMENT]
    compared = [trend for trend in trends if trend.measure in surest]
    within = {
        environment: [values[trend.measure].trend(trend.run, environment=environment, seed=seed) for trend in compared]
        for environment in sizes["environment"].head(SHOWN_ENVIRONMENTS)
    }
    return {environment: [trend for trend in found if trend.points] for environment, found in within.items()}


def _sampled(study: Study) -> list[Sampled]:
    raw = pl.col("reasoning_kind") == "raw"
    rows = (
        study.corpus.scan()
        .group_by("run", "step")
        .agg(
            checkpoint=pl.col("checkpoint").unique().sort().str.join(", "),
            traces=pl.len(),
            prompts=pl.struct("environment", "prompt_id").n_unique(),
            set_aside=(~raw).sum(),
            truncated=pl.col("truncated").sum(),
            environments=pl.col("environment").value_counts(sort=True),
        )
        .sort("run", "step")
        .collect()
    )
    words = {
        (checkpoint.run, checkpoint.step): int(study.word_counts.tables(checkpoint)[1]["words"].sum())
        for checkpoint in study.corpus.checkpoints()
    }
    return [
        Sampled(
            **(
                row
                | {
                    "words": words[row["run"], row["step"]],
                    "environments": {pair["environment"]: pair["count"] for pair in row["environments"]},
                }
            )
        )
        for row in rows.iter_rows(named=True)
    ]


def _exclusions(study: Study, trends: Iterable[Trend], rejected: int) -> list[Exclusion]:
    aside = (
        study.corpus.scan()
        .filter(pl.col("reasoning_kind") != "raw")
        .group_by("run", "step", "reasoning_kind")
        .len()
        .sort("run", "step", "reasoning_kind")
        .collect()
    )
    kinds = {"summary": "its reasoning is a summary", "redacted": "its reasoning is redacted", "none": "it has no reasoning"}
    found = [
        Exclusion(run=run, step=step, kind="set aside", reason=kinds[kind], traces=count) for run, step, kind, count in aside.iter_rows()
    ]
    for trend in trends:
        for point in trend.points:
            for reason, count in point.why.items():
                if not reason.startswith("reasoning is "):
                    found.append(
                        Exclusion(run=trend.run, step=point.step, kind="missing", reason=reason, measure=trend.measure, traces=count)
                    )
    if rejected:
        found.append(
            Exclusion(run="", step=None, kind="rejected", reason="could not be read; kept whole in rejected.jsonl", traces=rejected)
        )
    return found


def _warnings(study: Study, trends: Iterable[Trend]) -> list[str]:
    """What a reader should know first, each thing once, with what was guessed on reading."""
    told = [f"{trend.run}: {warning}" for trend in trends for warning in trend.warnings]
    guessed = [guess for source in study.corpus.sources for guess in source.guessed]
    return list(dict.fromkeys([*told, *guessed]))


def _lacking(judged: Judged | None) -> list[str]:
    """Graders that say next to nothing, since most of their judgments are missing."""
    return [card.lacking_sentence for card in (judged.cards if judged else ()) if 2 * card.lacking > 1]


def _methods(gaming: Gaming | None, judged: Judged | None, went_on: Sequence[Continued]) -> list[str]:
    told = [("methods.txt", True), ("methods_gaming.txt", gaming), ("methods_prefixes.txt", went_on), ("methods_graded.txt", judged)]
    return [paragraph for name, applies in told if applies for paragraph in _paragraphs(name)]


def _of_frame(experiments: Sequence[Tried], kept: Foretold) -> list[str]:
    paragraphs = _paragraphs("methods_frame.txt")
    return [paragraph for paragraph, applies in zip(paragraphs, (experiments, kept.verdicts), strict=True) if applies]


def _paragraphs(name: str) -> list[str]:
    return (files("cotdrift.page") / name).read_text(encoding="utf-8").strip().split("\n\n")


def _versions() -> dict[str, str]:
    names = ("cotdrift", "polars", "numpy", "scipy", "statsmodels", "wordfreq", "altair")
    return {"Python": platform.python_version(), **{name: version(name) for name in names}}
