"""Rollouts as verifiers writes them, and prime-rl with it: flat rows, or a graph of messages."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cotdrift.fields import Shape, number_of
from cotdrift.opening import field_names, starts_with_lines
from cotdrift.records import Found, reject
from cotdrift.trace import Rejected

PLAIN = frozenset(
    "example_id prompt completion answer info error timing is_completed is_truncated stop_condition metrics tool_defs oai_tools "
    "token_usage task trajectory error_chain long_error_chain advantage env_name sampling_args temperature rollout_idx id version".split()
)
"""Fields of a flat row that are no metric; every other number is a reward or a metric."""

FIELDS = {
    "prompt_id": "example_id",
    "prompt": "prompt",
    "answer": "completion",
    "environment": "task",
    "truncated": "is_truncated",
    "step": "step",
    "model": "model",
}
CUT = frozenset({"max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed"})


def is_rollouts(first: bytes) -> bool:
    """Whether the first line of a file is such a rollout."""
    names = field_names(first) if starts_with_lines(first) else frozenset()
    return {"example_id", "completion", "reward"} <= names or {"nodes", "task"} <= names


def is_of_training(path: Path) -> bool:
    """Whether a trainer wrote the file: `rollouts/step_5/train_rollouts.jsonl`."""
    return re.fullmatch(r"step_\d+", path.resolve().parent.name) is not None or "_rollouts" in path.name


def shape(**whole: Any) -> Shape:
    """How rollouts are read; `whole` holds for the file as a whole."""
    return Shape(fields=FIELDS, outcome=lambda name: name not in PLAIN and name != "step", whole=whole)


def flattened(path: Path, found: Iterable[Found | Rejected]) -> Iterator[Found | Rejected]:
    """Each rollout as one flat row."""
    for one in found:
        if isinstance(one, Rejected) or "nodes" not in one.fields:
            yield one
            continue
        try:
            yield one._replace(fields=_flat(one.fields))
        except (TypeError, KeyError, IndexError, AttributeError, ValueError):
            yield reject(
                path, one.place, "the graph of messages does not hold together", "Write the rollouts anew", one.text, field="nodes"
            )


def _flat(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace of verifiers' message graph as a row: the branch that ends last, what was sampled in it, and its rewards."""
    nodes = trace["nodes"]
    branch: list[dict[str, Any]] = []
    place = len(nodes) - 1 if nodes else None
    while place is not None and len(branch) <= len(nodes):
        branch.append(nodes[place])
        place = nodes[place].get("parent")
    branch.reverse()
    first = next((at for at, node in enumerate(branch) if node.get("sampled")), len(branch))
    task = trace["task"] if isinstance(trace["task"], dict) else {"key": trace["task"]}
    data = task["data"] if isinstance(task.get("data"), dict) else task
    info = trace.get("info") or {}
    trainer = info.get("prime_rl") or {}
    calls = trace.get("calls") or [{}]
    last = calls[-1].get("finish_reason") or (branch[-1].get("finish_reason") if branch else None)
    rewards = {
        name: value["score"] * value.get("weight", 1) if isinstance(value, dict) else value
        for name, value in (trace.get("rewards") or {}).items()
    }
    paid = [value for value in rewards.values() if value is not None]
    row = {
        "example_id": next(
            (
                one
                for one in (task.get("key"), *(data.get(name) for name in ("id", "idx", "example_id")), task.get("hash"))
                if one is not None
            ),
            None,
        ),
        "prompt": [node["message"] for node in branch[:first]],
        "completion": [node["message"] for node in branch[first:]],
        "task": trainer.get("env_name") or trainer.get("env") or task.get("type"),
        "is_truncated": trace.get("stop_condition") in CUT or last == "length",
        "step": trainer.get("step"),
        "model": next((call["model"] for call in calls if call.get("model")), None),
        "reward": trace.get("reward", sum(paid) if paid else None),
    }
    numbers = {
        name: value
        for name, value in ({**rewards, **(trace.get("metrics") or {})}).items()
        if number_of(value) is not None and name not in row
    }
    left = {
        name: value
        for name, value in trace.items()
        if name not in ("nodes", "calls", "rewards", "metrics", "reward", "task", "tools") and name not in numbers
    }
    return (
        {name: value for name, value in row.items() if value is not None}
        | numbers
        | {"id": trace.get("id"), "info": info}
        | {name: value for name, value in left.items() if name not in row}
    )
