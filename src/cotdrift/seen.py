"""What a judge or a person is shown of a trace."""

from cotdrift.grader import Grader
from cotdrift.text import chunks
from cotdrift.trace import Trace


def windows(grader: Grader, trace: Trace) -> list[tuple[int, int]]:
    """The parts of the reasoning that are asked about one at a time: all of it, where the grader has no window."""
    if grader.window is None:
        return [(0, len(trace.reasoning))]
    return chunks(trace.reasoning, grader.window) or [(0, 0)]


def scenario_of(trace: Trace) -> str:
    """What the model was told: the prompt, and in a conversation all that others said in it."""
    if not trace.turns:
        return trace.prompt
    return "\n\n".join(f"[{message.role}] {message.content}" for message in trace.turns if message.role != "assistant")


def said_and_done(trace: Trace) -> str:
    """What the model said outside its reasoning, and the tools that it called."""
    return trace.answer + "".join(f"\n[{call.function} {call.arguments}]" for call in trace.actions)
