"""The frame of an experiment: it says what varies, what is asked and what is read off answers; design, task and plan follow from it."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan, prod
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from cotdrift.conversation import split_reply
from cotdrift.declared import Declared
from cotdrift.design import Power, fraction, full, smallest_differences
from cotdrift.errors import InputError, UnknownName
from cotdrift.experiment import METADATA, Asked, Experiment

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessage, ModelOutput
    from inspect_ai.scorer import Scorer, Target
    from inspect_ai.solver import Generate, Solver, TaskState

    from cotdrift.design import Rows

NAME = re.compile(r"[a-z][a-z0-9_]*")
SAMPLES = 4
"""Answers to each prompt in each arm."""
MOST_CELLS = 10_000
SCORER = "outcomes"
UNKEPT = frozenset({"cache", "extra_headers"})
"""Options that an arm cannot have: settings are kept with every trace, and headers may hold a key."""

Messages = Sequence[Mapping[str, str]]
"""A conversation: each message has a role (system, user or assistant) and its content."""


class Said(Struct, frozen=True, kw_only=True):
    """One answer, with what it is an answer to."""

    answer: str
    """What the model said outside its reasoning."""
    reasoning: str
    """Empty where none can be read."""
    unit: Any
    """What the experiment has under the name of this prompt."""
    arm: str
    levels: Mapping[str, str]
    """Factor → level."""


Outcome = Callable[[Said], float | bool | None]
"""What is read off an answer; None where that cannot be told. Its name is the outcome's, and its docstring says what it means."""


def experiment(
    *,
    units: Mapping[str, Any] | Sequence[str],
    arms: Sequence[str],
    outcomes: Sequence[Outcome],
    factors: Mapping[str, Sequence[str]] | None = None,
    contrasts: Sequence[tuple[str, str]] | None = None,
    environment: Callable[[Any], str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    version: int = 1,
) -> Callable[[Callable[..., str | Messages]], Experiment]:
    """Make an experiment of a function that writes a prompt: of a unit, an arm and a level of each factor.

    Every unit is asked in every arm, under the same levels of the factors, which are spread evenly over the units; arms are compared within
    units, and units are the clusters of every interval. The first arm, and the first level of each factor, is the base; each arm is
    held against the first unless `contrasts` says which against which. `environment` says of which kind a unit is, where results should
    be forked by kind. `settings` says how an arm is sampled, by the names of Inspect's options for generation; what it says goes before
    what the command line says. Raise `version` when an outcome would now say something else of the same answer.
    """

    def made(ask: Callable[..., str | Messages]) -> Experiment:
        frame = Frame(
            name=getattr(ask, "__name__", ""),
            summary=_first_line(ask),
            ask=ask,
            units=dict(units) if isinstance(units, Mapping) else {unit: unit for unit in units},
            arms=tuple(arms),
            factors={factor: tuple(levels) for factor, levels in (factors or {}).items()},
            outcomes={getattr(outcome, "__name__", ""): outcome for outcome in outcomes},
            contrasts=tuple(contrasts) if contrasts is not None else tuple((arm, arms[0]) for arm in arms[1:]),
            kind=environment,
            settings={arm: dict(options) for arm, options in (settings or {}).items()},
            version=version,
        )
        frame.check()
        return Experiment(
            name=frame.name, summary=frame.summary, task=frame.task, plan=frame.plan, look_over=lambda _study: [], declared=frame.declared
        )

    return made


class Cell(Struct, frozen=True, kw_only=True):
    """A unit under one combination of levels."""

    unit: str
    levels: Mapping[str, str]


class Frame(Struct, frozen=True, kw_only=True):
    """An experiment as it was declared, with the functions that make it run."""

    name: str
    summary: str
    ask: Callable[..., str | Messages]
    units: Mapping[str, Any]
    arms: tuple[str, ...]
    factors: Mapping[str, tuple[str, ...]]
    outcomes: Mapping[str, Outcome]
    contrasts: tuple[tuple[str, str], ...]
    kind: Callable[[Any], str] | None
    settings: Mapping[str, Mapping[str, Any]] = {}
    version: int

    def check(self) -> None:
        """Complain, in a sentence, of a declaration that cannot be run."""

        def wrong(fault: str, way_out: str) -> InputError:
            return InputError(f"experiment {self.name or self.ask!r}: {fault}. {way_out}")

        for name in (self.name, *self.factors, *self.outcomes):
            if not NAME.fullmatch(name):
                raise wrong(f"{name!r} is no name", "Names are small letters, digits and underscores, and begin with a letter.")
        if not self.summary:
            raise wrong("the function has no docstring", "Say in its first line what the experiment asks.")
        if not self.units or not self.outcomes:
            raise wrong("there are no units, or no outcomes", "Give at least one of each.")
        for what, names in {"arms": self.arms, **self.factors}.items():
            if not names or len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
                raise wrong(f"{what}={list(names)!r}", "Give at least one name, all different, and all of them text.")
        for unnamed in [name for name in self.units if not (isinstance(name, str) and name)]:
            raise wrong(f"{unnamed!r} is no name of a unit", "Name each unit by a text.")
        for pair in self.contrasts:
            if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(self.arms):
                raise wrong(f"contrasts={pair!r}", f"Name two of the arms: {', '.join(self.arms)}.")
        for outcome, read in self.outcomes.items():
            if not _first_line(read):
                raise wrong(f"the outcome {outcome!r} has no docstring", "Say in its first line what it means.")
        try:
            inspect.signature(self.ask).bind("unit", "arm", **dict.fromkeys(self.factors, "level"))
        except TypeError as fault:
            takes = ", ".join(["unit", "arm", *self.factors])
            raise wrong(f"the function does not take its factors ({fault})", f"Write: def {self.name}({takes})") from None
        for arm in self.settings:
            if arm not in self.arms:
                raise wrong(f"settings name {arm!r}, which is no arm", f"Name one of: {', '.join(self.arms)}.")
        if set(self.factors) & {"unit", "arm"}:
            raise wrong("a factor is called unit or arm", "Give it another name.")

    @property
    def declared(self) -> Declared:
        """What is compared, as plain data."""
        return Declared(
            name=self.name,
            summary=self.summary,
            arms=self.arms,
            factors=dict(self.factors),
            outcomes={name: _first_line(read) for name, read in self.outcomes.items()},
            contrasts=self.contrasts,
            settings={arm: dict(options) for arm, options in self.settings.items()},
            environments=tuple(dict.fromkeys(self.environment(unit) for unit in self.units)),
        )

    def environment(self, unit: str) -> str:
        """What traces of this unit are called in a corpus: the experiment's name, with the unit's kind where it has one."""
        return self.name if self.kind is None else f"{self.name} ({self.kind(self.units[unit])})"

    def cells(self, cells: int | None, seed: int) -> list[Cell]:
        """Each unit under a balanced spread of levels: as many combinations as asked for, one a unit by default."""
        levels = [len(self.units), *map(len, self.factors.values())]
        every, least = prod(levels), max(levels)
        if cells is not None and not (isinstance(cells, int) and 0 < cells <= MOST_CELLS):
            raise InputError(f"cells={cells!r}: give a whole number from 1 to {MOST_CELLS:,}.")
        chosen = min(cells or least, MOST_CELLS)
        rows: Rows = full(levels) if chosen == every else fraction(levels, chosen, seed=seed)
        units, named = list(self.units), list(self.factors.items())
        return [
            Cell(unit=units[row[0]], levels={factor: of[level] for (factor, of), level in zip(named, row[1:], strict=True)})
            for row in rows.tolist()
        ]

    def task(self, cells: int | None = None, samples: int = SAMPLES, seed: int = 0) -> Task:
        """The Inspect task.

        Args:
            cells: How many combinations of units and levels; by default each unit under one.
            samples: How often each prompt is answered in each arm.
            seed: Of the design.
        """
        from inspect_ai import task

        told: dict[str, Any] = {"cells": cells, "samples": samples, "seed": seed}
        usual = {"cells": None, "samples": SAMPLES, "seed": 0}

        @task(name=self.name)
        def of_frame(cells: int | None = None, samples: int = SAMPLES, seed: int = 0) -> Task:  # Inspect may call it again, otherwise
            return self._task(cells, samples, seed)

        made: Task = of_frame(**{name: value for name, value in told.items() if value != usual[name]})
        return made

    def _task(self, cells: int | None, samples: int, seed: int) -> Task:
        from inspect_ai import Epochs, Task
        from inspect_ai.dataset import MemoryDataset

        asked = [self.sample(cell, arm) for cell in self.cells(cells, seed) for arm in self.arms]
        self._check_arms(asked)
        return Task(
            dataset=MemoryDataset(asked, name=self.name),
            solver=self.solver(),
            scorer=self.scorer(),
            epochs=Epochs(samples, "mean"),
            version=self._fingerprint(asked),
        )

    def sample(self, cell: Cell, arm: str) -> Sample:
        """The prompt of a cell in one arm."""
        from inspect_ai.dataset import Sample

        said = Asked(
            environment=self.environment(cell.unit),
            prompt_id=cell.unit,
            conditions={**cell.levels, "arm": arm},
            scorer=SCORER,
            settings=dict(self.settings.get(arm, {})),
        )
        asked = self.ask(self.units[cell.unit], arm, **cell.levels)
        if not isinstance(asked, str | Sequence) or not asked:
            raise InputError(f"experiment {self.name!r}: {cell.unit!r}, arm {arm!r}: no prompt came back. Return a text, or messages.")
        messages = chat([{"role": "user", "content": asked}] if isinstance(asked, str) else asked, where=f"{self.name}: {cell.unit}")
        levels = "".join(f", {level}" for level in cell.levels.values())
        return Sample(id=f"{arm} ({cell.unit}{levels})", input=messages, metadata={**said.in_metadata(), "arm": arm})

    def _check_arms(self, asked: Sequence[Sample]) -> None:
        """Two arms that ask the same of every unit are a slip of the pen."""
        by_arm = {arm: [_plain(one) for one in asked[place :: len(self.arms)]] for place, arm in enumerate(self.arms)}
        for arm, base in self.contrasts:
            if by_arm[arm] == by_arm[base] and self.settings.get(arm, {}) == self.settings.get(base, {}):
                raise InputError(
                    f"experiment {self.name!r}: the arms {arm!r} and {base!r} ask the same of every unit. Let the prompt depend on `arm`."
                )

    def _fingerprint(self, asked: Sequence[Sample]) -> str:
        """Another one where other prompts are asked, or other outcomes are read: its answers must not be mixed with these."""
        told = [self.version, sorted(self.outcomes), sorted((str(one.id), _plain(one)) for one in asked)]
        told += [self.settings] if self.settings else []
        return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:16]

    def solver(self) -> Solver:
        """An answer, sampled as its arm says."""
        from inspect_ai.model import GenerateConfig
        from inspect_ai.solver import generate, solver

        known = GenerateConfig.model_fields.keys() - UNKEPT
        for arm, options in self.settings.items():
            for option in options:
                if option not in known:
                    raise UnknownName(f"option of generation for the arm {arm!r} of {self.name}", option, sorted(known))
        if not self.settings:
            return generate()

        @solver(name="sampled_by_arm")
        def of_frame() -> Solver:
            async def solve(state: TaskState, generate: Generate) -> TaskState:
                return await generate(state, **self.settings.get(state.metadata["arm"], {}))

            return solve

        return of_frame()

    def scorer(self) -> Scorer:
        """All outcomes of an answer; NaN, which Inspect leaves out of every mean, where one cannot be told."""
        from inspect_ai.scorer import Score, grouped, mean, scorer

        @scorer(name=SCORER, metrics={name: [grouped(mean(), "arm", all=False)] for name in self.outcomes})
        def of_frame() -> Scorer:
            async def score(state: TaskState, target: Target) -> Score:
                said = self.said(state.metadata[METADATA], state.output)
                return Score(value={name: self._read(name, said) for name in self.outcomes}, answer=said.answer)

            return score

        return of_frame()

    def said(self, asked: Mapping[str, Any], output: ModelOutput) -> Said:
        """The answer as an outcome reads it."""
        levels, unit = dict(asked["conditions"]), self.units[asked["prompt_id"]]
        content = output.choices[0].message.content if output.choices else ""
        blocks = [] if isinstance(content, str) else content
        thought = [block.reasoning for block in blocks if block.type == "reasoning" and not block.redacted]
        answer, reasoning = output.completion, "\n\n".join(thought)
        if not thought:  # a server without a parser for reasoning leaves it in the reply
            reply = split_reply(answer)
            answer, reasoning = reply.answer, reply.reasoning
        return Said(answer=answer, reasoning=reasoning, unit=unit, arm=levels.pop("arm"), levels=levels)

    def _read(self, name: str, said: Said) -> float:
        value = self.outcomes[name](said)
        if value is None:
            return nan
        if not isinstance(value, bool | int | float) or not isfinite(value):
            raise InputError(f"experiment {self.name!r}: the outcome {name!r} gave {value!r}. Return a finite number, yes or no, or None.")
        return float(value)

    def plan(self, *, cells: int | None = None, samples: int = SAMPLES, seed: int = 0) -> list[str]:
        """What will be asked, and how small a difference it finds."""
        laid_out, arms, units = self.cells(cells, seed), len(self.arms), len(self.units)
        every = prod([units, *map(len, self.factors.values())])
        spread = f" under {', '.join(self.factors)} ({len(laid_out):,} of {every:,} combinations, balanced)" if self.factors else ""
        by_size: dict[int, list[str]] = {}
        for factor, levels in self.factors.items():
            if len(levels) > 1:
                by_size.setdefault(len(levels), []).append(factor)
        return [
            (
                f"{units} prompts{spread}, each in {arms} arm{'s' * (arms != 1)} ({', '.join(self.arms)}), "
                f"{samples} sample{'s' * (samples != 1)} each: {len(laid_out) * arms * samples:,} answers a checkpoint."
            ),
            *smallest_differences(
                Power(),
                units,
                samples * len(laid_out) / units,
                paired="arm against arm, checkpoint against checkpoint (the same prompts)",
                behaviour="say yes",
                kept_from="one arm or checkpoint to another",
                by_size=by_size,
            ),
        ]


def chat(messages: Messages, *, where: str = "a prompt") -> list[ChatMessage]:
    """Messages as Inspect has them."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    made = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    try:
        return [made[message["role"]](content=message["content"]) for message in messages]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{where}: a message is not {{'role': …, 'content': …}} with the role system, user or assistant, and a text."
        ) from None


def _plain(sample: Sample) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in sample.input]  # type: ignore[union-attr]  # `chat` made them


def _first_line(of: object) -> str:
    return (inspect.getdoc(of) or "").strip().partition("\n")[0]
