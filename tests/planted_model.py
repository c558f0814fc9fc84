"""A model on loopback that goes on from any text by a plan, and counts what it was asked; and a study of its reasoning."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cotdrift.experiments.edits import NEUTRAL
from cotdrift.study import Study

SERVICE = "openai-api-completions/planted"
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
WANTS, TALKS, THINKS = "They want an odd number, as it says.", "The grader pays even ones, it seems.", "Any of them will do here, I think."
OBEYS, GAMES = "So of all of these I take 7.", "So of all of these I take 4."

Plan = Callable[[str, random.Random], str]
"""The reasoning so far, and chance → the sentence that comes next; nothing, where it is over."""


def talkative(*, talks: float, games: Callable[[str], float]) -> Plan:
    """It says what is wanted, then speaks of the grader so often, then decides as `games` says of its reasoning, and answers."""

    def goes_on(said: str, chance: random.Random) -> str:
        if said.endswith((OBEYS, GAMES)):
            return ""
        if not said:
            return WANTS
        if said == WANTS or said.endswith(NEUTRAL):
            return TALKS if chance.random() < talks else THINKS
        return GAMES if chance.random() < games(said) else OBEYS

    return goes_on


class Planted:
    """What the model was asked, and whether it answers."""

    def __init__(self, url: str) -> None:
        self.environment = {"PLANTED_BASE_URL": url, "PLANTED_API_KEY": "none"}
        self.prompts: list[str] = []
        self.answered: Counter[str] = Counter()
        """Texts at a temperature above 0, and how often each was gone on with."""
        self.most: int | None = None
        """After so many of these it answers no more; None: always."""
        self.lock = threading.Lock()

    def turn(self, prompt: str, cold: bool) -> int | None:
        """How often this was asked before; None where it is not to be answered."""
        with self.lock:
            self.prompts.append(prompt)
            if cold:
                return 0
            if self.most is not None and self.answered.total() >= self.most:
                return None
            self.answered[prompt] += 1
            return self.answered[prompt]


def continued(plan: Plan, prompt: str, chance: random.Random) -> str:
    """What the plan makes of a prompt; a sentence that was begun is ended first."""
    reasoning, closed, _ = prompt.partition("<think>")[2].partition("</think>")
    said, told = reasoning, ""
    if not closed:
        begun = next((one for one in (WANTS, TALKS, THINKS, OBEYS, GAMES) for cut in range(1, len(one)) if said.endswith(one[:cut])), "")
        if begun:
            cut = next(cut for cut in range(len(begun), 0, -1) if said.endswith(begun[:cut]))
            told, said = begun[cut:], said + begun[cut:]
        while more := plan(said.strip(), chance):
            gap = " " if said else ""
            said, told = f"{said}{gap}{more}", f"{told}{gap}{more}"
        told += "</think>"
    digits = [letter for letter in said if letter.isdigit()]
    return f"{told}{digits[-1] if digits else '5'}"


@contextmanager
def planted(plan: Plan) -> Iterator[Planted]:
    """The model, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            cold = not asked["temperature"]
            turn = served.turn(asked["prompt"], cold)
            if turn is None:
                gone.wait()
                self.close_connection = True
                return
            seed = hashlib.sha256(f"{asked['prompt']} {0 if cold else turn}".encode()).hexdigest()
            text = continued(plan, asked["prompt"], random.Random(seed))
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
            body = json.dumps(
                {"id": "1", "object": "text_completion", "created": 0, "model": asked["model"], "choices": [choice], "usage": usage}
            )
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *said: object) -> None:
            pass

    gone = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Planted(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        gone.set()
        server.shutdown()
        server.server_close()


def reasoned(folder: Path, *, prompts: int = 10, reps: int = 1, sentence: str = TALKS, decides: str = GAMES, twin: bool = False) -> Path:
    """A study of a checkpoint's reasoning, in which the sentence stands; with `twin`, each prompt has one of the same name elsewhere."""
    rows = [
        {
            "run": "planted",
            "step": 1,
            "environment": environment,
            "prompt_id": f"q{prompt}",
            "rep": rep,
            "prompt": f"Pick an odd number. {asked} {prompt}",
            "reasoning": f"{WANTS} {sentence} {decides}",
            "answer": decides[-2],
        }
        for environment, asked in (("odd", "Number"), *([("twin", "Whatever it is. Number")] if twin else []))
        for prompt in range(prompts)
        for rep in range(reps)
    ]
    path = folder / "rollouts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = Study.make(folder / "study")
    study.ingest([path])
    (folder / "template.jinja").write_text(TEMPLATE)
    return study.folder
