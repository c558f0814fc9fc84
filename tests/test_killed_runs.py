"""A series of checkpoints under two experiments, killed three times: each sample is generated once, as the server that generates counts."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cotdrift.study import Study

pytest.importorskip("openai")

STEPS = (0, 30, 60, 100, 160)
PROMPTS, AT_ONCE = 12, 4
SECONDS = 600


class Counting:
    """A server that speaks OpenAI's protocol, counts what it generates, and can be told to hold everything after so many answers."""

    def __init__(self) -> None:
        self.generated: Counter[tuple[Any, ...]] = Counter()
        self.requests = 0
        self.held = 0
        self.allowed = 0
        self.dropped = 0
        self.changed = threading.Condition()

    def generate(self, *asked: Any) -> bool:
        """Whether an answer came about; a request that was held is dropped when its client is killed, as servers do."""
        with self.changed:
            self.requests += 1
            self.held += 1
            self.changed.notify_all()
            before = self.dropped
            self.changed.wait_for(lambda: self.generated.total() < self.allowed or self.dropped > before, SECONDS)
            self.held -= 1
            if self.dropped > before:
                return False
            self.generated[asked] += 1
            self.changed.notify_all()
            return True

    def allow(self, answers: int) -> None:
        with self.changed:
            self.allowed = answers
            self.changed.notify_all()

    def drop(self) -> None:
        with self.changed:
            self.dropped += 1
            self.changed.notify_all()

    def stands_still(self) -> None:
        """Wait until all that was allowed is generated, and as much as is asked for at once is held."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.generated.total() == self.allowed and self.held == AT_ONCE, SECONDS)


@contextmanager
def serving(counting: Counting) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not counting.generate(asked["model"], asked["temperature"], json.dumps(asked["messages"])):
                self.close_connection = True
                return
            message = {"role": "assistant", "content": "4"}
            answer: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"]}
            answer["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
            answer["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *said: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        counting.drop()
        server.shutdown()
        thread.join()
        server.server_close()


def until_kept(cache: Path, answers: int) -> None:
    """Wait until the answers of the experiment that is under way are on the disk; those of one that is done are in its logs."""
    end = time.monotonic() + SECONDS
    while sum(path.is_file() and path.stat().st_size > 0 for path in cache.rglob("*")) != answers:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_five_checkpoints_and_two_experiments_killed_three_times_generate_each_sample_once(paid: Path, tmp_path: Path) -> None:
    counting, study = Counting(), tmp_path / "study"
    series = ["--series", "openai-api/loop/hinted-{step}", "--steps", ",".join(map(str, STEPS)), "--into", str(study)]
    series += ["--limit", str(PROMPTS), "--max-connections", str(AT_ONCE), "-T", "samples=1"]
    asked = (
        [str(paid), "--temperature", "1"],
        ["reward_hint", "-T", "factors=wording", "-T", "probes=false", "--temperature", "0.5"],  # they share a prompt
    )
    script = " && ".join(shlex.join([sys.executable, "-m", "cotdrift", "run", *one, *series]) for one in asked)
    every = 2 * len(STEPS) * PROMPTS

    with serving(counting) as url:
        told = {"LOOP_BASE_URL": url, "LOOP_API_KEY": "none", "INSPECT_CACHE_DIR": str(tmp_path / "cache")}

        def started() -> subprocess.Popen[bytes]:
            return subprocess.Popen(["sh", "-c", script], env=os.environ | told, stdout=subprocess.PIPE, start_new_session=True)

        for answers in (17, 53, 89):  # in the middle of a checkpoint: the second and the fifth of one experiment, the third of the other
            counting.allow(answers)
            running = started()
            counting.stands_still()
            until_kept(tmp_path / "cache", answers - len(STEPS) * PROMPTS * (answers > len(STEPS) * PROMPTS))
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate(timeout=60)
            assert running.returncode == -signal.SIGKILL
            counting.drop()
            assert counting.generated.total() == answers
        counting.allow(every + 1)
        running = started()
        out, _ = running.communicate(timeout=SECONDS)
        assert running.returncode == 0, out.decode()

    assert set(counting.generated.values()) == {1}
    assert counting.generated.total() == every
    assert counting.requests == every + 3 * AT_ONCE, "what was held when it was killed is asked again, and nothing else"
    traces = list(Study.open(study).corpus.traces())
    assert Counter((trace.run, trace.step) for trace in traces) == {("hinted", step): 2 * PROMPTS for step in STEPS}
    assert len(list((study / "logs").rglob("*.eval"))) == 2 * len(STEPS)
