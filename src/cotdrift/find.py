"""Find: what there is to say of a study, put together for its report."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import polars as pl

from cotdrift import ambiguity as laddered
from cotdrift.ambiguity import MORE_OPEN, ORDER, Ambiguity, ambiguity_of, pairs_of
from cotdrift.arms import Tried, tried
from cotdrift.continuations import OWN, PATTERN, SHARED, Continued, continued
from cotdrift.decipher.bench import FOLDER as DECIPHER
from cotdrift.decipher.bench import Bench
from cotdrift.decipher.deciphered import Deciphered, deciphered
from cotdrift.declared import declared_in
from cotdrift.errors import NotEnough
from cotdrift.experiments.intervention_arms import ENVIRONMENT as EDITED
from cotdrift.find_axes import Axes, find_axes
from cotdrift.find_graded import Judged, find_judged
from cotdrift.findings import Exclusion, Findings, Passages, Sampled
from cotdrift.foretold import Foretold, foretold
from cotdrift.gaming import ENVIRONMENTS, Gaming, gaming_of
from cotdrift.importance import FORCED, OPEN, Importance, importance_of
from cotdrift.intervened import Intervened, intervened
from cotdrift.motive import PREFIX, Motive, motive_of
from cotdrift.ordering import Order, order_of
from cotdrift.rewarded import GRADER, KINDS, VIEWS, Rewarded, is_of_rubrics, rewarded
from cotdrift.scores import scores_of
from cotdrift.sense import Sense
from cotdrift.sentences import clear_changes
from cotdrift.study import Against, Study
from cotdrift.swayed import Swayed, adjusted, settings_of, swayed
from cotdrift.trend import Trend
from cotdrift.values import Values

SHOWN_TERMS = 12
"""How many terms of a run get a curve and passages."""
SPEAKS = "reward_reasoning"
"""The grader that says whether reasoning speaks of how its answer is rewarded."""
REFERENT = "referent"
"""The grader that says what the uses of a word refer to."""
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
    gaming, ambiguity, motive = _gaming(study, values, seed), _ambiguity(study, values, seed), _motive(study, values)
    experiments, kept, went_on = _tried(study, seed), foretold(study, seed=seed), _continued(study, values, seed)
    weighed, edited, (senses, stale) = _importance(study, seed), _intervened(study, seed), study.senses()
    ids = {use.transcript_id for found in passages for use in (*found.early, *found.late)}
    ids |= {use.transcript_id for sense in senses for use in sense.quoted}
    ids |= {example.transcript_id for of in (gaming, ambiguity, motive, edited, *went_on) if of for example in of.examples}
    ids |= {name for chain in (weighed.chains if weighed else ()) for sides in chain.examples.values() for side in sides for name in side}
    ids |= {passage.transcript_id for passage in (judged.passages if judged else ())}
    read = _deciphered(study, seed)
    axes = find_axes(study, judged, trends, values, truths=truths, seed=seed)
    ids |= {passage.transcript_id for passage in axes.passages}
    swayed_by, rewarded_by = _swayed(study, values, seed), _rewarded(study, seed)
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
        ambiguity=ambiguity,
        motive=motive,
        continued=went_on,
        deciphered=read,
        importance=weighed,
        senses=senses,
        senses_stale=stale,
        same_sense=study.same_sense(seed=seed),
        substitutes=study.kept_substitutes(),
        referents=_referents(study, seed),
        judged=judged,
        axes=axes,
        tried=experiments,
        swayed=swayed_by,
        rewarded=rewarded_by,
        intervened=edited,
        foretold=kept if kept.verdicts or kept.faults else None,
        exclusions=_exclusions(study, [*trends, *(judged.trends if judged else ())], rejected),
        rejected=rejected,
        warnings=[*_lacking(judged), *_warnings(study, trends)],
        methods=[
            *_methods(
                gaming=gaming,
                ambiguity=ambiguity,
                motive=motive,
                prefixes=went_on,
                importance=weighed,
                sense=senses,
                interventions=edited,
                graded=judged,
                axes=axes,
                decipher=read,
            ),
            *_of_frame(experiments, kept, swayed_by, rewarded_by),
        ],
        versions=_versions(),
    )


def _deciphered(study: Study, seed: int) -> Deciphered | None:
    """What readers made of the study's decipherment benchmark, if anybody read."""
    if not Bench.is_in(study.folder):
        return None
    found = deciphered(Bench(study.folder / DECIPHER), seed=seed)
    return found if found.scores.readers else None


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


def _motive(study: Study, values: dict[str, Values]) -> Motive | None:
    """What the traces of the experiment motive say, if there are any; where a grader said whether reasoning speaks of reward, by that."""
    ours = study.corpus.scan().filter(pl.col("environment").str.starts_with(PREFIX))
    columns = pl.col("transcript_id", "run", "step", "environment", "prompt_id"), pl.col("^(condition|outcome)_.*$")
    words = values["reasoning_words"].frame.select("transcript_id", words="value")
    frame = ours.select(*columns).collect().join(words, on="transcript_id", how="left")
    if not frame.height or SPEAKS not in study.graders():
        return motive_of(frame)
    judged = study.values(SPEAKS).frame.select("transcript_id", outcome_speaks_of_incentive="value")
    return motive_of(frame.drop("outcome_speaks_of_incentive", strict=False).join(judged, on="transcript_id", how="left"), by=SPEAKS)


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


def _importance(study: Study, seed: int) -> Importance | None:
    """What the traces of importance say, if there are any."""
    ours = study.corpus.scan().filter(pl.col("environment").is_in([OPEN, FORCED]))
    columns = pl.col("transcript_id", "run", "step", "environment", "prompt_id", "answer", "reasoning", "truncated", "extra")
    frame = ours.select(columns, pl.col("^(condition_(chain|kept)|outcome_answers_so)$")).collect()
    if "condition_chain" not in frame.columns:
        return None
    begun = frame.filter(pl.col("environment") == OPEN).sort(pl.col("condition_kept").cast(pl.Int64), descending=True)
    longest = begun.unique("condition_chain", keep="first", maintain_order=True)["transcript_id"]
    wholes = {trace.conditions["chain"]: trace.begun for trace in study.corpus.traces(*longest)}
    return importance_of(frame, wholes, seed=seed)


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


def _ambiguity(study: Study, values: dict[str, Values], seed: int) -> Ambiguity | None:
    """What the traces of ambiguity say, if there are any, with what judges answered and what was found of the order of the levels."""
    ours = study.corpus.scan().filter(pl.col("environment").str.starts_with(laddered.ENVIRONMENTS))
    columns = pl.col("transcript_id", "run", "step", "environment", "prompt_id"), pl.col("^(condition_arm|outcome_.*)$")
    frame = ours.select(*columns).collect()
    if not frame.height:
        return None
    told = {"words": values["reasoning_words"], **{name: study.values(name) for name in laddered.GRADERS if name in study.graders()}}
    for name, of in told.items():
        frame = frame.join(of.frame.select("transcript_id", pl.col("value").alias(name)), on="transcript_id", how="left")
    return ambiguity_of(frame, order=_order(study, seed), seed=seed)


def _order(study: Study, seed: int) -> Order | None:
    """What the study of the levels' order says that lies in this one's folder, if there is one."""
    folder = study.folder / ORDER
    if not Study.is_one(folder):
        return None
    pairs = Study.open(folder)
    asked = pairs.corpus.scan().select("transcript_id", "model", "environment", "prompt_id", pl.col("^(condition|outcome)_.*$"))
    return order_of(pairs_of(asked.collect(), pairs.labels(MORE_OPEN)), laddered.LEVELS, seed=seed)


def _swayed(study: Study, values: dict[str, Values], seed: int) -> dict[str, Sequence[Swayed]]:
    """What ways of sampling do, for the experiments that try them."""
    found: dict[str, Sequence[Swayed]] = {}
    for declared in (one for one in declared_in(study.folder) if one.settings):
        ours = study.corpus.scan().filter(pl.col("environment").is_in(declared.environments))
        traces = ours.select("transcript_id", "condition_arm", "serving").collect()
        under = traces.select("transcript_id", setting=settings_of(traces))
        every = []
        for run in study.chosen():
            of_run = [
                swayed(of.frame.join(under, on="transcript_id"), declared, run=run, measure=name, unit=of.unit, seed=seed)
                for name, of in values.items()
            ]
            every += adjusted(one for one in of_run if one)
        if every:
            found[declared.name] = every
    return found


def _referents(study: Study, seed: int) -> list[Trend]:
    """What judges say that uses of words refer to: the share of each answer over the steps; empty where they were not asked."""
    grader = study.graders().get(REFERENT)
    if grader is None:
        return []
    labels = {re.sub(r"[^a-z0-9]+", "_", answer.label.casefold()) for answer in grader.answers}
    asked = [score for score in scores_of(grader) if score.partition(".")[2] in labels]
    return [study.values(score).trend(run, seed=seed) for score in asked for run in study.chosen()]


def _rewarded(study: Study, seed: int) -> dict[str, Rewarded]:
    """What rubrics reward, for the experiments that have some written."""
    found = {}
    judged = {score for grader in study.graders().values() for score in scores_of(grader)}
    points = {kind: f"{GRADER}.{kind}" for kind in KINDS}
    for declared in filter(is_of_rubrics, declared_in(study.folder)):
        columns = ("transcript_id", "run", "step", "environment", "prompt_id", "condition_arm")
        traces = study.corpus.scan().filter(pl.col("environment").is_in(declared.environments)).select(*columns).collect()
        of_points = {kind: study.values(name).frame for kind, name in points.items() if name in judged}
        of_views = {name: study.values(name).frame for name in VIEWS if name in judged}
        if one := rewarded(traces, of_points, of_views, declared, seed=seed):
            found[declared.name] = one
    return found


def _intervened(study: Study, seed: int) -> Intervened | None:
    """What edits of reasoning do, if any were tried."""
    columns = pl.col("transcript_id", "run", "step", "environment", "prompt_id"), pl.col("^(condition_(arm|source|monitor)|outcome_.*)$")
    return intervened(study.corpus.scan().filter(pl.col("environment") == EDITED).select(*columns).collect(), seed=seed)


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


def _methods(
    **of: Gaming | Ambiguity | Motive | Sequence[Continued] | Sequence[Sense] | Importance | Intervened | Judged | Axes | Deciphered | None,
) -> list[str]:
    told = [("methods.txt", True), *((f"methods_{name}.txt", found) for name, found in of.items())]
    return [paragraph for name, applies in told if applies for paragraph in _paragraphs(name)]


def _of_frame(experiments: Sequence[Tried], kept: Foretold, swayed: dict[str, Any], rewarded: dict[str, Any]) -> list[str]:
    paragraphs = _paragraphs("methods_frame.txt")
    told = (experiments, kept.verdicts, swayed, rewarded)
    return [paragraph for paragraph, applies in zip(paragraphs, told, strict=True) if applies]


def _paragraphs(name: str) -> list[str]:
    return (files("cotdrift.page") / name).read_text(encoding="utf-8").strip().split("\n\n")


def _versions() -> dict[str, str]:
    names = ("cotdrift", "polars", "numpy", "scipy", "statsmodels", "wordfreq", "altair")
    return {"Python": platform.python_version(), **{name: version(name) for name in names}}
