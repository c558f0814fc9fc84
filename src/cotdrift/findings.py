"""Findings: all that a report says, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from cotdrift.comparisons.distance import said_of
from cotdrift.continuation_sentences import what_continues
from cotdrift.decipher.sentences import what_is_read
from cotdrift.exploited import what_is_exploited
from cotdrift.importance_sentences import what_matters
from cotdrift.intervened_sentences import what_edits_do
from cotdrift.motive_sentences import what_moves
from cotdrift.sense_sentences import what_became, what_was_judged
from cotdrift.sentences import Change, what_changed, what_games, what_is_thought

if TYPE_CHECKING:
    from cotdrift.ambiguity import Ambiguity
    from cotdrift.arms import Tried
    from cotdrift.continuations import Continued
    from cotdrift.decipher.deciphered import Deciphered
    from cotdrift.find_axes import Axes
    from cotdrift.find_graded import Judged
    from cotdrift.foretold import Foretold
    from cotdrift.gaming import Gaming
    from cotdrift.importance import Importance
    from cotdrift.intervened import Intervened
    from cotdrift.motive import Motive
    from cotdrift.rewarded import Rewarded
    from cotdrift.same_sense import Compared
    from cotdrift.sense import Sense
    from cotdrift.serving import Serving
    from cotdrift.study import Passage
    from cotdrift.substitutes import Substituted
    from cotdrift.swayed import Swayed
    from cotdrift.trace import Trace
    from cotdrift.trend import Trend


class Sampled(Struct, frozen=True, kw_only=True):
    """What there is of one checkpoint."""

    run: str
    step: int
    checkpoint: str = ""
    """What the run calls it; empty when it has no name but its step."""
    traces: int
    prompts: int
    words: int
    """In the raw reasoning of these traces."""
    set_aside: int
    """Traces whose reasoning is not measured as reasoning: a summary, redacted, or none."""
    truncated: int = 0
    environments: dict[str, int] = {}
    """Traces by environment."""


class Exclusion(Struct, frozen=True, kw_only=True):
    """Traces, or values of them, that a number on the page does not rest on, and why."""

    run: str
    step: int | None
    """None when the reason holds for no one checkpoint."""
    kind: Literal["set aside", "missing", "rejected"]
    """Whole traces left out by their kind; values that could not be had; records that could not be read."""
    reason: str
    measure: str = ""
    """Which measure lacks the value; empty when all do."""
    traces: int


class Passages(Struct, frozen=True, kw_only=True):
    """One term's uses in one run, early beside late."""

    term: str
    run: str
    early: Sequence[Passage]
    late: Sequence[Passage]


class Findings(Struct, frozen=True, kw_only=True, dict=True):
    """All that a report says. Nothing here is computed when the page is written but its sentences."""

    title: str
    created: str
    """When, as ISO 8601."""
    sampled: Sequence[Sampled]
    """One entry a checkpoint."""
    trends: Sequence[Trend] = ()
    """Surface measures and outcomes: an entry a run and measure."""
    measures: dict[str, str] = {}
    """What each of those measures is, in one line."""
    environments: dict[str, Sequence[Trend]] = {}
    """The same measures within each environment; empty when there is only one."""
    terms: dict[str, Sequence[dict[str, Any]]] = {}
    """Words and watched terms, as `cotdrift terms --json` gives them, by what they are held against: `start`, `human`, `answers`."""
    term_trends: Sequence[Trend] = ()
    """The terms worth a curve; the trend's measure is the term."""
    passages: Sequence[Passages] = ()
    traces: Sequence[Trace] = ()
    """The whole traces behind the passages."""
    serving: Serving | None = None
    """What was checked of the server the traces come from; None when nothing was."""
    gaming: Gaming | None = None
    """What the experiment reward_hint says; None when the study holds none of its traces."""
    ambiguity: Ambiguity | None = None
    """What the experiment ambiguity says; None when the study holds none of its traces."""
    motive: Motive | None = None
    """What the experiment motive says; None when the study holds none of its traces."""
    continued: Sequence[Continued] = ()
    """What the experiment prefixes says, an entry a behaviour; empty when the study holds none of its traces."""
    deciphered: Deciphered | None = None
    """What readers made of the decipherment benchmark; None when the study has none, or nobody has read."""
    importance: Importance | None = None
    """What the experiment importance says; None when the study holds none of its traces."""
    senses: Sequence[Sense] = ()
    """What the terms that were asked about stand among at each checkpoint; an entry a run and term."""
    same_sense: Sequence[Compared] = ()
    """What judges and people say of pairs of uses; an entry a run, term and rater."""
    substitutes: Sequence[Substituted] = ()
    """What a model would put in terms' places, early and late; an entry a run, term and model."""
    referents: Sequence[Trend] = ()
    """What uses of words refer to, as judges say: for each answer its share of the uses; empty where they were not asked."""
    senses_stale: Sequence[str] = ()
    """Those that were measured before more traces came."""
    tried: Sequence[Tried] = ()
    """Experiments without a page of their own."""
    swayed: dict[str, Sequence[Swayed]] = {}
    """For each experiment that tries ways of sampling, an entry a run and measure; p-values are adjusted over the measures of a run."""
    rewarded: dict[str, Rewarded] = {}
    """For each experiment that has rubrics written, what those reward."""
    intervened: Intervened | None = None
    """What the experiment interventions says; None when the study holds none of its traces."""
    foretold: Foretold | None = None
    """What became of the predictions registered in the study; None when there are none."""
    judged: Judged | None = None
    """What judges say; None when the study holds no judgments."""
    axes: Axes | None = None
    """Drift, illegibility and the loss of a property, each by itself, and what monitors are worth; None when they were not looked at."""
    exclusions: Sequence[Exclusion] = ()
    rejected: int = 0
    """Records that could not be read as traces."""
    warnings: Sequence[str] = ()
    methods: Sequence[str] = ()
    """How the numbers were made, a paragraph each."""
    versions: dict[str, str] = {}

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What changed, the surest and largest first."""
        pairs = self.judged.thoughts.pairs if self.judged and self.judged.thoughts else ()
        return what_changed(
            self.trends, environments=self.environments, terms=self.terms, term_trends=self.term_trends, gaming=self.gaming, pairs=pairs
        )

    @cached_property
    def gamed(self) -> tuple[Change, ...]:
        """What moves the gaming of each run; empty where that was not tried."""
        return what_games(self.gaming) if self.gaming else ()

    @cached_property
    def exploited(self) -> tuple[Change, ...]:
        """How the threshold of each run moved; empty where that was not tried."""
        return what_is_exploited(self.ambiguity) if self.ambiguity else ()

    @cached_property
    def moved(self) -> tuple[Change, ...]:
        """What moves the behaviour of each run; empty where that was not tried."""
        return what_moves(self.motive) if self.motive else ()

    @cached_property
    def went_on(self) -> tuple[Change, ...]:
        """What the checkpoints make of prefixes; empty where that was not tried."""
        return what_continues(self.continued)

    @cached_property
    def edited(self) -> tuple[Change, ...]:
        """What edits of reasoning do; empty where none was tried."""
        return what_edits_do(self.intervened) if self.intervened else ()

    @cached_property
    def read(self) -> tuple[Change, ...]:
        """What readers recover, and where their agreement is no evidence; empty where nobody was asked."""
        return tuple(Change(sentence=sentence) for sentence in what_is_read(self.deciphered.scores)) if self.deciphered else ()

    @cached_property
    def drifted(self) -> tuple[Change, ...]:
        """How much of the words of each run is others; empty where that was not looked at."""
        trends = [trend for axis in (self.axes.axes if self.axes else ()) if axis.name == "drift" for trend in axis.trends]
        return tuple(Change(sentence=said_of(trend), run=trend.run, measure=trend.measure) for trend in trends)

    @cached_property
    def watched(self) -> tuple[Change, ...]:
        """What monitors are worth in each run; empty where none is held against a truth."""
        found = [one for watched in (self.axes.watched if self.axes else ()) for one in watched.found]
        return tuple(Change(sentence=one.sentence(), run=one.run) for one in found)

    @cached_property
    def matters(self) -> tuple[Change, ...]:
        """Which sentences of each run's reasoning matter; empty where that was not tried."""
        return what_matters(self.importance) if self.importance else ()

    @cached_property
    def meant(self) -> tuple[Change, ...]:
        """What became of the terms that were asked about; empty where none was."""
        judged = [Change(sentence=what_was_judged(found), run=found.run) for found in self.same_sense]
        return (*(what_became(sense) for sense in self.senses), *judged)

    @cached_property
    def thought(self) -> tuple[Change, ...]:
        """What is said of each thought beside each action, where judges were asked about both."""
        pairs = self.judged.thoughts.pairs if self.judged and self.judged.thoughts else ()
        return tuple(change for run in dict.fromkeys(pair.run for pair in pairs) for change in what_is_thought(pairs, run))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What changed, in sentences with numbers; each names its run where there are several."""
        tried = (*self.gamed, *self.exploited, *self.moved, *self.went_on, *self.matters, *self.meant, *self.edited)
        watched = (*self.read, *self.drifted, *self.watched)
        every = (*self.changes, *tried, *watched, *(change for change in self.thought if not change.is_flag))
        several = len({change.run for change in every}) > 1
        told = [verdict.sentence() for verdict in self.foretold.verdicts] + [*self.foretold.faults] if self.foretold else []
        return (*told, *(f"{change.run}: {change.sentence}" if several and change.run else change.sentence for change in every))
