"""A sample of an Inspect log as a trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from cotdrift.conversation import CUT_OFF, Conversation, conversation, reasoning_of, split_reply, tool_call
from cotdrift.errors import InputError
from cotdrift.experiment import METADATA, Asked
from cotdrift.fields import NAMES, Unfit, check_map, is_endless, level_of, look_up, name_of, number_of
from cotdrift.format import Reading
from cotdrift.provenance import Provenance, step_in_name, whole_number, without_step
from cotdrift.settings import IMPROBABLE, settings
from cotdrift.trace import Message, ReasoningKind, Trace

REFERENCES = ("attachment://", "tc://")
"""How a text that is kept apart is referred to, now and formerly."""

GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's letters: correct, incorrect, partial, no answer."""

STEP_NAMES = (*NAMES["step"], "checkpoint")
RUN_NAMES = ("run", "run_name", "training_run")


class Block(Struct):
    """A part of a message's content."""

    type: str = "text"
    text: str | None = None
    reasoning: str | None = None
    summary: str | None = None
    redacted: bool | None = None


class LoggedMessage(Struct):
    """A message as it is logged."""

    role: str
    content: str | list[Block] | None = None
    source: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


class Token(Struct):
    """A sampled token; what else it might have been is passed over."""

    logprob: float | str | None = None


class Tokens(Struct):
    """The tokens of a reply."""

    content: list[Token] = []


class Choice(Struct):
    """One reply of the model."""

    message: LoggedMessage | None = None
    stop_reason: str = "unknown"
    logprobs: Tokens | None = None


class Output(Struct):
    """What the model gave last."""

    choices: list[Choice] = []


class Score(Struct):
    """What a scorer found."""

    value: Any = None


class OldTranscript(Struct):
    """Where logs of version 1 kept their attachments."""

    content: Raw = Raw(b"{}")


class Sample(Struct):
    """What is read of a sample; its events, by far the most of it, are passed over."""

    id: int | str
    epoch: int = 1
    input: str | list[LoggedMessage] = ""
    target: Any = None
    messages: list[LoggedMessage] = []
    message_refs: list[tuple[int, int]] | None = None
    """Where the messages stand in the sample's sequence of messages, when it is logged in chunks."""
    output: Output | None = None
    scores: dict[str, Score] | None = None
    score: Score | None = None
    metadata: dict[str, Any] | None = None
    attachments: Raw = Raw(b"{}")
    transcript: OldTranscript | None = None
    error: Any = None
    limit: Any = None
    uuid: str | None = None


class SampleReader:
    """Turns the samples of one log into traces."""

    def __init__(self, path: Path, reading: Reading, note: Callable[[str], None], header: dict[str, Any]) -> None:
        self.where = Provenance(path, reading, note)
        self.log = _fields(header, "eval")
        self.metadata = _fields(self.log, "metadata")
        self.model = str(self.log.get("model") or "")
        self.serving = self._serving(header)
        self.noted: set[str] = set()
        self.unseen = set(reading.fields)
        self.decode = msgspec.json.Decoder(Sample).decode
        check_map(reading.fields)

    def trace(self, sample: Sample, place: str) -> Trace:
        """The sample as a trace; Unfit where it cannot be one."""
        talk = self._talk(sample)
        told = self._told(sample) if self.where.reading.fields else {}
        asked = _asked(sample)
        outcomes, unnumbered = _outcomes(sample.scores or ({"score": sample.score} if sample.score else {}), bare=asked.scorer)
        stops = [choice.stop_reason for choice in sample.output.choices] if sample.output else []
        checkpoint = name_of(told.get("checkpoint"), "checkpoint", "") or (
            self.metadata["checkpoint"] if isinstance(self.metadata.get("checkpoint"), str) else ""
        )
        reply = talk.reply
        return Trace(
            run=self._run(told, checkpoint),
            step=self._step(told, sample, checkpoint),
            checkpoint=checkpoint,
            environment=self.where.reading.environment
            or name_of(told.get("environment"), "environment", "")
            or asked.environment
            or str(self.log.get("task") or self.where.environment),
            prompt_id=name_of(told.get("prompt_id", asked.prompt_id or sample.id), "prompt_id", ""),
            rep=whole_number(told.get("rep", sample.epoch)),
            prompt=talk.prompt,
            reasoning=reply.reasoning,
            answer=reply.answer,
            reasoning_kind=reply.kind,
            turns=talk.turns,
            conditions=asked.conditions | _conditions(told),
            outcomes=outcomes | _told_outcomes(told),
            model=self.model,
            serving=self.serving | _surprise(sample),
            truncated=reply.cut_off or bool(sample.limit or sample.error) or not CUT_OFF.isdisjoint(stops),
            source=f"{self.where.path}:{place}",
            extra=_extra(sample, unnumbered, stops),
        )

    def finish(self) -> None:
        """Complain of fields that the user named and no sample has."""
        if self.unseen:
            ours = sorted(self.unseen)[0]
            raise InputError(
                f"{self.where.path}: --map {ours}={self.where.reading.fields[ours]}: no sample has such a field. "
                f"Names go down from a sample, as metadata.NAME or target, or from the log, as eval.metadata.NAME or eval.task_args.NAME."
            )

    def _note(self, sentence: str) -> None:
        if sentence not in self.noted:
            self.noted.add(sentence)
            self.where.note(f"{self.where.path.name}: {sentence}")

    def _talk(self, sample: Sample) -> Conversation:
        logged = sample.messages
        if not logged and sample.output and sample.output.choices and (said := sample.output.choices[0].message):
            asked = [LoggedMessage(role="user", content=sample.input)] if isinstance(sample.input, str) else sample.input
            logged = [*asked, said]
        texts = _Texts(sample)
        given = max(
            (place + 1 for place, message in enumerate(logged) if message.role == "assistant" and message.source == "input"), default=0
        )
        read = [_message(message, texts) for message in logged]
        kinds: list[ReasoningKind] = [kind for _, kind, _ in read]
        if "raw" in kinds and "summary" in kinds:  # what is no raw reasoning must not be measured with it
            read = [
                (msgspec.structs.replace(message, reasoning="") if kind == "summary" else message, kind, cut) for message, kind, cut in read
            ]
            kinds = ["raw"]
        elif "raw" in kinds:
            kinds = ["raw"]
        elif "summary" in kinds:
            kinds = ["summary"]
        talk = conversation([message for message, _, _ in read], kinds=kinds, given=given)
        prompt = talk.prompt or (sample.input if isinstance(sample.input, str) else "")
        cut_off = bool(read) and read[-1][2]
        return msgspec.structs.replace(talk, prompt=prompt, reply=msgspec.structs.replace(talk.reply, cut_off=cut_off))

    def _told(self, sample: Sample) -> dict[str, Any]:
        """What the user's field map gives for this sample."""
        view = {
            "eval": self.log,
            "metadata": sample.metadata or {},
            "id": sample.id,
            "epoch": sample.epoch,
            "target": sample.target,
            "uuid": sample.uuid,
        }
        view["scores"] = {name: score.value for name, score in (sample.scores or {}).items()}
        found = {}
        for ours, theirs in self.where.reading.fields.items():
            if (value := look_up(view, tuple(theirs.split(".")), self)) is not self:
                found[ours] = value
                self.unseen.discard(ours)
        return found

    def _run(self, told: dict[str, Any], checkpoint: str) -> str:
        if self.where.reading.run is not None:
            return self.where.reading.run
        named = told.get("run") or next((self.metadata[name] for name in RUN_NAMES if self.metadata.get(name)), None)
        if named is not None:
            return name_of(named, "run", "")
        if not self.model:
            return self.where.run
        self._note("run is read from the model's name")
        return (without_step(self.model) if step_in_name(self.model) is not None else self.model) or self.model

    def _step(self, told: dict[str, Any], sample: Sample, checkpoint: str) -> int:
        where = self.where
        if where.reading.step is not None:
            return where.reading.step
        given = told.get("step")
        if given is None and (step := where.step_told(checkpoint, self.model)) is not None:
            return step
        for holder in (self.metadata, _fields(self.log, "task_args"), sample.metadata or {}):
            if given is None:
                name = next(
                    (
                        name
                        for name in STEP_NAMES
                        if holder.get(name) is not None and not (name == "checkpoint" and isinstance(holder[name], str))
                    ),
                    "",
                )
                given = holder.get(name)
                if name and holder is sample.metadata:
                    self._note(f"step is read from the samples' metadata {name!r}")
        if given is not None:
            try:
                return whole_number(given)
            except ValueError as fault:
                raise Unfit("step", str(fault), "A step is a whole number from 0 on; give it by --step") from None
        for name in (checkpoint, self.model):
            if name and (step := step_in_name(name)) is not None:
                return step
        if where.step_of_path is not None:
            self._note(f"step {where.step_of_path} is read from the file's path")
            return where.step_of_path
        if where.reading.step_table or where.reading.step_pattern:
            raise Unfit(
                "step",
                "neither the step table nor the step pattern gives one",
                "Add the log, its checkpoint or its model to the table, or mend the pattern",
            )
        self._note(
            "no step found: all taken as step 0; give --step, --step-pattern, --step-table or metadata={'step': …} when the log is made"
        )
        return 0

    def _serving(self, header: dict[str, Any]) -> dict[str, Any]:
        asked = _fields(_fields(header, "plan"), "config") | _fields(self.log, "model_generate_config")
        known = {
            "model": self.model,
            "provider": self.model.partition("/")[0] if "/" in self.model else None,
            "base_url": self.log.get("model_base_url"),
        }
        told = settings(known | asked, known=None) | settings(self.metadata, _fields(self.log, "model_args"))
        return {name: value for name, value in told.items() if name not in ("cache", "extra_headers")}  # headers may hold a key


class _Texts:
    """The texts of a sample, with those that are kept apart put in their places."""

    def __init__(self, sample: Sample) -> None:
        packed = bytes(sample.attachments)
        if len(packed) <= 2 and sample.transcript:
            packed = bytes(sample.transcript.content)
        self.packed = packed
        self.texts: dict[str, str] | None = None if len(packed) > 2 else {}

    def text(self, text: str | None) -> str:
        if not text or not text.startswith(REFERENCES):
            return text or ""
        if self.texts is None:
            apart = msgspec.json.decode(self.packed)
            self.texts = {str(place): one for place, one in enumerate(apart)} if isinstance(apart, list) else apart
        kept = self.texts.get(text.partition("://")[2]) if isinstance(self.texts, dict) else None
        return kept if isinstance(kept, str) else text

    def whole(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.whole(one) for name, one in value.items()}
        return [self.whole(one) for one in value] if isinstance(value, list) else value


def _message(logged: LoggedMessage, texts: _Texts) -> tuple[Message, ReasoningKind, bool]:
    content = logged.content
    raw: list[str] = [texts.text(logged.reasoning)] if logged.reasoning else []
    summaries: list[str] = []
    redacted = False
    if isinstance(content, list):
        said = []
        for block in content:
            if block.type == "text":
                said.append(texts.text(block.text))
            elif block.type == "reasoning":
                redacted = redacted or bool(block.redacted)
                if not block.redacted:
                    raw.append(texts.text(block.reasoning))
                summaries.append(texts.text(block.summary))
        text = "\n".join(said)
    else:
        text = texts.text(content)
    if logged.role != "assistant":
        if logged.role not in ("system", "user", "tool"):
            raise Unfit("messages", f"the role {logged.role!r} is none of system, user, assistant and tool", "Write the log anew")
        return Message(role=logged.role, content=text, tool_call_id=logged.tool_call_id), "none", False  # type: ignore[arg-type]
    reasoning, kind = reasoning_of(raw, summaries, redacted=redacted)
    cut_off = False
    if kind == "none":
        reply = split_reply(text)
        text, reasoning, kind, cut_off = reply.answer, reply.reasoning, reply.kind, reply.cut_off
    calls = tuple(tool_call(texts.whole(call)) for call in logged.tool_calls) if logged.tool_calls else ()
    return Message(role="assistant", content=text, reasoning=reasoning, tool_calls=calls), kind, cut_off


def _fields(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _asked(sample: Sample) -> Asked:
    """What the sample of an experiment says of itself; nothing, for any other."""
    said = (sample.metadata or {}).get(METADATA)
    if not isinstance(said, dict):
        return Asked(environment="", prompt_id="")
    try:
        return msgspec.convert(said, Asked)
    except msgspec.ValidationError as fault:
        raise Unfit(f"metadata.{METADATA}", str(fault), "Write environment, prompt_id and conditions as text") from None


def _outcomes(scores: dict[str, Score], *, bare: str = "") -> tuple[dict[str, float], dict[str, Any]]:
    """The scores that are numbers, and those that are not; one that was not given (NaN) is neither.

    The values of a scorer that gives several bear its name, but for the scorer `bare`.
    """
    outcomes: dict[str, float] = {}
    others: dict[str, Any] = {}
    for name, score in scores.items():
        of = "" if name == bare else f"{name}_"
        parts = {f"{of}{key}": value for key, value in score.value.items()} if isinstance(score.value, dict) else {name: score.value}
        for part, value in parts.items():
            number = GRADES.get(value) if isinstance(value, str) else None
            number = number_of(value) if number is None else number
            if number is not None:
                outcomes[part] = number
            elif value is not None and not is_endless(value):
                others[f"score_{part}"] = value
    return outcomes, others


def _told_outcomes(told: dict[str, Any]) -> dict[str, float]:
    found = {}
    for ours, value in told.items():
        if ours.startswith("outcome_") and value is not None:
            number = GRADES.get(value) if isinstance(value, str) else None
            number = number_of(value) if number is None else number
            if number is None:
                raise Unfit(ours, f"{str(value)[:60]!r} is neither a finite number nor yes or no", "Map a field that holds numbers")
            found[ours.removeprefix("outcome_")] = number
    return found


def _conditions(told: dict[str, Any]) -> dict[str, str]:
    given = {ours.removeprefix("condition_"): level_of(ours, value) for ours, value in told.items() if ours.startswith("condition_")}
    return {name: level for name, level in given.items() if level is not None}


def _surprise(sample: Sample) -> dict[str, Any]:
    """How improbable the tokens of the last reply were to the model that sampled them; nothing where that was not logged."""
    logged = sample.output.choices[0].logprobs if sample.output and sample.output.choices else None
    found = [number for token in logged.content if (number := number_of(token.logprob)) is not None] if logged else []
    return {"sampled": {"tokens": len(found), "improbable": sum(number < IMPROBABLE for number in found)}} if found else {}


def _extra(sample: Sample, scores: dict[str, Any], stops: list[str]) -> dict[str, Any]:
    error = sample.error.get("message") if isinstance(sample.error, dict) else sample.error
    kept = {
        "metadata": {name: value for name, value in (sample.metadata or {}).items() if name != METADATA},
        "target": sample.target,
        "uuid": sample.uuid,
        "error": error,
        "limit": sample.limit,
        "stop_reason": stops[0] if stops else None,
    }
    return {name: value for name, value in kept.items() if value} | scores
