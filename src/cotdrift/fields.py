"""Fields: which field of a record is read as what, told by the user, known of the format, or guessed and said so."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from cotdrift.conversation import CLOSING, CUT_OFF, Conversation, Reply, join, read_messages, split_reply
from cotdrift.errors import InputError
from cotdrift.provenance import Provenance, step_in_name, whole_number, without_step
from cotdrift.settings import KNOWN, settings
from cotdrift.trace import ReasoningKind, Trace

NAMES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversation", "conversations", "chat", "transcript", "dialogue"),
    "reasoning": (
        "reasoning",
        "reasoning_content",
        "reasoning_text",
        "reasoning_trace",
        "thinking",
        "thinking_trace",
        "cot",
        "chain_of_thought",
        "thoughts",
        "thought",
        "trace",
        "rationale",
        "scratchpad",
    ),
    "answer": (
        "response",
        "completion",
        "output",
        "generation",
        "generated_text",
        "model_response",
        "model_output",
        "answer",
        "final_answer",
        "final",
    ),
    "prompt": ("prompt", "question", "input", "problem", "instruction", "query", "user_prompt"),
    "prompt_id": (
        "prompt_id",
        "prompt_sha",
        "prompt_hash",
        "question_id",
        "problem_id",
        "task_id",
        "example_id",
        "query_id",
        "item_id",
        "instance_id",
        "uid",
    ),
    "step": ("step", "global_step", "checkpoint_step", "training_step", "train_step", "optimizer_step", "rl_step"),
    "run": ("run", "run_name", "run_id", "experiment", "experiment_name", "model", "model_name", "model_id"),
    "checkpoint": ("checkpoint", "checkpoint_name", "ckpt"),
    "environment": (
        "environment",
        "env",
        "env_name",
        "env_id",
        "task",
        "task_name",
        "task_set",
        "domain",
        "dataset",
        "data_source",
        "benchmark",
    ),
    "rep": ("rep", "rollout_idx", "rollout_index", "sample_idx", "sample_index", "generation_idx", "completion_idx", "repeat", "epoch"),
    "model": ("model", "model_name", "model_id"),
    "truncated": ("truncated", "is_truncated", "finish_reason", "stop_reason"),
    "reasoning_kind": ("reasoning_kind",),
}
"""Our fields, and what others call them, the likeliest name first."""

FITTING: dict[str, tuple[type, ...]] = {
    "messages": (list, str),
    "reasoning": (str, list),
    "answer": (str, list, dict, int, float),
    "prompt": (str, list),
    "truncated": (bool, str),
}
"""What a guessed field has to hold; for the others, text or a number."""

OUTCOMES = frozenset(
    [
        "reward",
        "rewards",
        "score",
        "correct",
        "is_correct",
        "accuracy",
        "acc",
        "success",
        "is_success",
        "passed",
        "solved",
        "task_completion",
    ]
)
YES_NO = {"yes": 1.0, "true": 1.0, "correct": 1.0, "pass": 1.0, "no": 0.0, "false": 0.0, "incorrect": 0.0, "fail": 0.0}
ENDLESS = frozenset({"nan", "inf", "-inf", "infinity", "-infinity", "+infinity", "+inf"})
KINDS: dict[Any, ReasoningKind] = {"raw": "raw", "summary": "summary", "redacted": "redacted", "none": "none"}
KEPT_TOO = frozenset({"finish_reason", "stop_reason"})
"""Fields that say more than the field they are read as, and stay in `extra`."""


class Unfit(Exception):
    """A record that cannot be a trace: which field, what is wrong, what to do."""

    def __init__(self, field: str, fault: str, way_out: str) -> None:
        super().__init__(fault)
        self.field, self.fault, self.way_out = field, fault, way_out


@dataclass(frozen=True)
class Shape:
    """What is known of a format's fields, so that they need no guess."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """Our field to theirs."""
    outcome: Callable[[str], bool] = OUTCOMES.__contains__
    """Whether a number in a field of that name says something of the behaviour."""
    nan_is_missing: bool = False
    """Whether NaN is how this format writes that there is no value."""
    whole: Mapping[str, Any] = field(default_factory=dict)
    """What holds for all records that do not say otherwise; `serving` as well."""


class Plan(NamedTuple):
    """How records with the same fields are read."""

    sources: dict[str, tuple[str, ...]]
    outcomes: tuple[tuple[str, tuple[str, ...], bool], ...]
    """Name, path, and whether the user asked for it."""
    conditions: tuple[tuple[str, tuple[str, ...]], ...]
    rest: tuple[str, ...]
    settings: tuple[str, ...] = ()
    """What says how the trace was sampled; it stays in `extra` as it was."""


class FieldMap:
    """How the fields of one file's records are read."""

    def __init__(self, provenance: Provenance, shape: Shape) -> None:
        self.where = provenance
        self.told = provenance.reading.fields
        self.shape = shape
        self.plans: dict[tuple[str, ...], Plan] = {}
        self.noted: set[str] = set()
        self.unseen = set(self.told)
        self.seen: dict[str, None] = {}
        self.steps_given = False
        check_map(self.told)

    def look_at(self, records: Iterable[dict[str, Any]]) -> None:
        """Settle by the first records whether the file gives a step at all."""
        for record in records:
            plan = self.plan(record)
            if "step" in plan.sources and look_up(record, plan.sources["step"]) not in (None, ""):
                self.steps_given = True

    def finish(self) -> None:
        """Complain of fields that the user named and no record has."""
        if self.unseen and self.seen:
            ours = sorted(self.unseen)[0]
            raise InputError(
                f"{self.where.path}: --map {ours}={self.told[ours]}: no record has a field {self.told[ours]!r}. "
                f"There are: {', '.join(list(self.seen)[:60])}."
            )

    def note(self, sentence: str) -> None:
        """Say once what was guessed."""
        if sentence not in self.noted:
            self.noted.add(sentence)
            self.where.note(f"{self.where.path.name}: {sentence}")

    def plan(self, record: dict[str, Any]) -> Plan:
        """How records with these fields are read."""
        names = tuple(record)
        plan = self.plans.get(names)
        if plan is None:
            plan = self._make_plan(record)
            if len(self.plans) < 1000:
                self.plans[names] = plan
        return plan

    def _make_plan(self, record: dict[str, Any]) -> Plan:
        if len(self.seen) < 1000:
            self.seen |= dict.fromkeys(record)
        sources = {ours: path_of(record, theirs) for ours, theirs in self.told.items() if "_" not in ours or ours in NAMES}
        sources |= {ours: (theirs,) for ours, theirs in self.shape.fields.items() if ours not in sources and theirs in record}
        used = {path[0] for path in sources.values()}
        plain = {name.lower().replace("-", "_").replace(" ", "_"): name for name in reversed(record)}
        for ours, candidates in NAMES.items():
            if ours in sources or (ours in ("prompt", "answer") and "messages" in sources):
                continue
            for candidate in candidates:
                theirs = plain.get(candidate)
                if (
                    theirs is None
                    or (theirs in used and ours not in ("run", "model"))
                    or not isinstance(record[theirs], (*FITTING.get(ours, (str, int, float)), type(None)))
                ):
                    continue
                if ours == "messages" and isinstance(record[theirs], str) and not record[theirs].startswith("["):
                    continue
                sources[ours] = (theirs,)
                used.add(theirs)
                if theirs != ours:
                    self.note(f"{ours} is read from {theirs!r}")
                break
        if "prompt_id" not in sources and "prompt" not in sources and "messages" not in sources and "id" in plain:
            sources["prompt_id"] = (plain["id"],)
            used.add(plain["id"])
            self.note(f"prompt_id is read from {plain['id']!r}")
        outcomes = [
            (ours.removeprefix("outcome_"), path_of(record, theirs), True)
            for ours, theirs in self.told.items()
            if ours.startswith("outcome_")
        ]
        conditions = [
            (ours.removeprefix("condition_"), path_of(record, theirs))
            for ours, theirs in self.told.items()
            if ours.startswith("condition_")
        ]
        used |= {path[0] for _, path, _ in outcomes} | {path[0] for _, path in conditions}
        for theirs, value in record.items():
            if theirs in used:
                continue
            if theirs.startswith("outcome_") and len(theirs) > 8:
                outcomes.append((theirs.removeprefix("outcome_"), (theirs,), True))
            elif theirs.startswith("condition_") and len(theirs) > 10:
                conditions.append((theirs.removeprefix("condition_"), (theirs,)))
            elif self.shape.outcome(theirs.lower()) and (value is None or number_of(value) is not None or is_endless(value)):
                outcomes.append((theirs, (theirs,), False))
                if theirs not in self.shape.fields.values():
                    self.note(f"{theirs!r} is taken as an outcome")
            else:
                continue
            used.add(theirs)
        whole = {
            path[0] for path in (*sources.values(), *(path for _, path, _ in outcomes), *(path for _, path in conditions)) if len(path) == 1
        }
        return Plan(
            sources,
            tuple(outcomes),
            tuple(conditions),
            tuple(name for name in record if name not in whole or name.lower() in KEPT_TOO),
            tuple(name for name in record if name in KNOWN),
        )

    def trace(self, record: dict[str, Any], place: str) -> Trace:
        """The record as a trace; Unfit where it cannot be one."""
        plan = self.plan(record)
        if self.unseen:
            self.unseen -= {ours for ours in self.unseen if look_up(record, path_of(record, self.told[ours]), missing=self) is not self}
        whole = self.shape.whole
        given = {ours: record.get(path[0]) if len(path) == 1 else look_up(record, path) for ours, path in plan.sources.items()}
        if whole:
            given |= {ours: value for ours, value in whole.items() if given.get(ours) is None}
        prompt, context, reply, talk = self._said(given)
        checkpoint = name_of(given.get("checkpoint"), "checkpoint", "")
        model = name_of(given.get("model"), "model", "")
        kind = (
            KINDS.get(given.get("reasoning_kind"), reply.kind)
            if reply.reasoning or given.get("reasoning_kind") == "redacted"
            else reply.kind
        )
        return Trace(
            run=self._run(given.get("run")),
            step=self._step(given.get("step"), checkpoint, model),
            checkpoint=checkpoint,
            environment=self.where.reading.environment or name_of(given.get("environment"), "environment", "") or self.where.environment,
            prompt_id=self._prompt_id(given.get("prompt_id"), context),
            rep=rep_of(given.get("rep")),
            prompt=prompt,
            reasoning=reply.reasoning,
            answer=reply.answer,
            reasoning_kind=kind,
            turns=talk.turns if talk else (),
            conditions={name: level for name, path in plan.conditions if (level := level_of(name, look_up(record, path))) is not None},
            outcomes={
                name: value for name, path, asked in plan.outcomes if (value := self._outcome(name, path, record, asked)) is not None
            },
            model=model,
            serving=whole.get("serving", {}) | settings({name: record[name] for name in plan.settings}),
            truncated=_truncated(given.get("truncated")) or reply.cut_off,
            source=f"{self.where.path}:{place}",
            extra=self._extra(plan, record),
        )

    def _said(self, given: dict[str, Any]) -> tuple[str, str, Reply, Conversation | None]:
        """The prompt, what tells it from others, the reply, and the conversation if there was one."""
        messages, prompt, answer = _unpacked(given.get("messages")), _unpacked(given.get("prompt")), _unpacked(given.get("answer"))
        thoughts = given.get("reasoning")
        if isinstance(thoughts, list) and all(isinstance(part, str) for part in thoughts):
            thoughts = join(thoughts)
        if thoughts is not None and not isinstance(thoughts, str):
            raise Unfit("reasoning", f"{type(thoughts).__name__} is no text", "Name the field that holds the text: --map reasoning=FIELD")
        talk = None
        if messages is not None or isinstance(prompt, list) or isinstance(answer, list | dict):
            talk = _talk(messages, prompt, answer)
            if thoughts and not talk.reply.reasoning:
                talk = talk.with_reasoning(thoughts)
            prompt, context, reply = talk.prompt, talk.context, talk.reply
        else:
            prompt = context = _words(prompt, "prompt")
            said = _words(answer, "answer")
            if thoughts:
                reply = Reply(thoughts, said, "raw")
            elif "reasoning" in given and not CLOSING.search(said):  # the source looked for reasoning, and found none that ends
                reply = Reply(answer=said)
            else:
                reply = split_reply(said, begun=prompt.rstrip().endswith("<think>"))
        if not ("reasoning" in given or "answer" in given or "messages" in given):
            raise Unfit("", "no field holds reasoning or an answer", "Name them: --map reasoning=FIELD --map answer=FIELD")
        return prompt, context, reply, talk

    def _prompt_id(self, given: Any, context: str) -> str:
        if given is None or given == "":
            if "prompt_id" in self.told or not context:
                raise Unfit(
                    "prompt_id",
                    "there is none, and no prompt to tell the question by",
                    "Name the field that tells questions apart: --map prompt_id=FIELD",
                )
            self.note("prompt_id is made from the text of the prompt")
            return hashlib.sha256(context.encode()).hexdigest()[:12]
        return name_of(given, "prompt_id", "")

    def _run(self, given: Any) -> str:
        if self.where.reading.run is not None:
            return self.where.reading.run
        name = name_of(given, "run", "")
        return (without_step(name) or name if step_in_name(name) is not None else name) or self.where.run

    def _step(self, given: Any, checkpoint: str, model: str) -> int:
        reading = self.where.reading
        if reading.step is not None:
            return reading.step
        told = self.where.step_told(checkpoint, model) if "step" not in self.told else None
        if told is not None:
            return told
        if given is not None and given != "":
            try:
                self.steps_given = True
                return whole_number(given)
            except ValueError as fault:
                raise Unfit(
                    "step", str(fault), "A step is a whole number from 0 on; give it by --step or name its field: --map step=FIELD"
                ) from None
        if self.steps_given:
            raise Unfit(
                "step",
                "other records of the file have one, this one has none",
                "Write it into the record, or give one for the whole file: --step N",
            )
        found = next((step for name in (checkpoint, model) if name and (step := step_in_name(name)) is not None), None)
        if found is None and (found := self.where.step_of_path) is not None:
            self.note(f"step {found} is read from the file's path")
        if found is None:
            if reading.step_table or reading.step_pattern:
                raise Unfit(
                    "step",
                    "neither the step table nor the step pattern gives one",
                    "Add the file, its checkpoint or its model to the table, or mend the pattern",
                )
            self.note("no step found: all taken as step 0; give --step, --step-pattern, --step-table or --map step=FIELD")
            return 0
        return found

    def _outcome(self, name: str, path: tuple[str, ...], record: dict[str, Any], asked: bool) -> float | None:
        value = look_up(record, path)
        if value is None or value == "":
            return None
        number = number_of(value)
        if number is None and (asked or is_endless(value)):
            if self.shape.nan_is_missing and is_endless(value):
                return None
            what = "is not a finite number" if is_endless(value) else "is neither a number nor yes or no"
            raise Unfit(".".join(path), f"{str(value)[:60]!r} {what}", "Write a number, or null where there is none")
        return number

    def _extra(self, plan: Plan, record: dict[str, Any]) -> dict[str, Any]:
        """What has no place of its own, with what was taken for an outcome by its name but holds no number here."""
        extra = {name: record[name] for name in plan.rest}
        for name, path, asked in plan.outcomes:
            value = None if asked else record[path[0]]
            if isinstance(value, str | list | dict) and number_of(value) is None:
                extra[name] = value
        return extra


def check_map(fields: Mapping[str, str]) -> None:
    """Complain of a map to a field that we do not have."""
    for ours, theirs in fields.items():
        if ours not in NAMES and not (ours.startswith(("outcome_", "condition_")) and not ours.endswith("_")):
            raise InputError(
                f"--map {ours}={theirs}: there is no field {ours!r}. There are: {', '.join(NAMES)}, outcome_NAME, condition_NAME."
            )


def path_of(record: dict[str, Any], name: str) -> tuple[str, ...]:
    """A field's name, or the way down to it where the name is dotted."""
    return (name,) if name in record else tuple(name.split("."))


def look_up(record: dict[str, Any], path: tuple[str, ...], missing: Any = None) -> Any:
    """What a record holds at the end of a path."""
    value: Any = record
    for name in path:
        if not isinstance(value, dict):
            return missing
        value = value.get(name, missing)
    return value


def _unpacked(value: Any) -> Any:
    """Messages that were written as JSON text, as tables without nesting do."""
    if isinstance(value, str) and value.startswith("[{"):
        try:
            read = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
        return read if isinstance(read, list) and all(isinstance(one, dict) and ("role" in one or "from" in one) for one in read) else value
    return value


def _talk(messages: Any, prompt: Any, answer: Any) -> Conversation:
    try:
        if messages is not None:
            if not isinstance(messages, list):
                raise ValueError("this is no list of messages")
            return read_messages(messages)
        asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}] if prompt else []
        said = (
            answer
            if isinstance(answer, list)
            else [answer]
            if isinstance(answer, dict)
            else [{"role": "assistant", "content": answer}]
            if answer
            else []
        )
        said = [one | {"role": "assistant"} if isinstance(one, dict) and "role" not in one and "from" not in one else one for one in said]
        return read_messages([*asked, *said], given=len(asked))
    except (ValueError, RecursionError) as fault:
        raise Unfit("messages", str(fault), "Write messages as OpenAI's chat has them: a list of objects with role and content") from None


def _words(value: Any, name: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int | float):
        return str(value)
    raise Unfit(name, f"{type(value).__name__} is no text", f"Name the field that holds the text: --map {name}=FIELD")


def name_of(value: Any, name: str, none: str) -> str:
    """The value as a name; Unfit when it is no text and no number."""
    if value is None:
        return none
    if type(value) is str:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or is_endless(value):
        raise Unfit(name, f"{str(value)[:60]!r} is neither text nor a number", f"Name another field: --map {name}=FIELD")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def rep_of(value: Any) -> int | None:
    """Which sample of its question a record is; None when it does not say."""
    if value is None or value == "":
        return None
    try:
        return whole_number(value)
    except ValueError as fault:
        raise Unfit("rep", str(fault), "A rep counts the samples of one question from 0 on; leave it out, and it is numbered") from None


def level_of(name: str, value: Any) -> str | None:
    """The level of a condition as text."""
    if value is None:
        return None
    if isinstance(value, dict | list):
        raise Unfit(f"condition_{name}", f"{type(value).__name__} is no level of a condition", "Name a field with text or a number")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _truncated(value: Any) -> bool:
    return value.lower() in CUT_OFF or value.lower() == "true" if isinstance(value, str) else bool(value)


def number_of(value: Any) -> float | None:
    """The value as a finite number, yes and no as 1 and 0; None when it is none."""
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    if isinstance(value, str):
        if (known := YES_NO.get(value.strip().lower())) is not None:
            return known
        try:
            number = float(value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return None


def is_endless(value: Any) -> bool:
    """Whether this is NaN or infinite, as a number or as text."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, str) and len(value) < 12 and value.strip().lower() in ENDLESS
