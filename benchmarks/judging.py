"""What a judgment costs in CPU beside the judge's own time: cotdrift, and the same grader as a scanner under Scout.

python benchmarks/judging.py 400
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import inspect_scout
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ContentReasoning, ContentText

from cotdrift.graders import graders
from cotdrift.scanners import scanner_of
from cotdrift.study import Study

JUDGE = "openai-api/bench/judge"
SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.judge_server import judge
with judge(lambda prompt: '{"quotes": [], "reason": "None.", "answer": "no"}') as served:
    print(served.environment["LOOPBACK_BASE_URL"], flush=True)
    time.sleep(3600)
"""


async def database(study: Study, place: Path) -> str:
    """The study's traces as Scout keeps transcripts."""
    async with inspect_scout.transcripts_db(str(place)) as made:
        await made.insert(
            [
                inspect_scout.Transcript(
                    transcript_id=trace.transcript_id,
                    source_type="rollouts",
                    source_id="r",
                    source_uri="r",
                    messages=[
                        ChatMessageUser(content=trace.prompt),
                        ChatMessageAssistant(content=[ContentReasoning(reasoning=trace.reasoning), ContentText(text=trace.answer)]),
                    ],
                )
                for trace in study.corpus.traces(*study.corpus.scan().select("transcript_id").collect()["transcript_id"])
            ]
        )
    return str(place)


def main() -> None:
    """Judge the same traces twice, in this process, by a judge in another that answers at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=int, nargs="?", default=400)
    many = parser.parse_args().traces
    here = str(Path(__file__).resolve().parents[1])
    server = subprocess.Popen([sys.executable, "-c", SERVER, here], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    os.environ |= {"BENCH_BASE_URL": server.stdout.readline().strip(), "BENCH_API_KEY": "none"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "rollouts.jsonl"
            with source.open("w", encoding="utf-8") as lines:
                for number in range(many):
                    said = " ".join(f"Thought {number} leads to step {at}, and that is fine." for at in range(60))
                    row = {"run": "r", "step": 0, "environment": "e", "prompt_id": f"p{number}", "prompt": "Go.", "reasoning": said}
                    lines.write(json.dumps(row | {"answer": "1"}) + "\n")
            study = Study.make(Path(folder) / "study")
            study.ingest([source])
            study.grade("reward_reasoning", judges=[JUDGE], dry_run=True)  # imports are paid once, by neither

            began = time.process_time()
            (judged,) = study.grade("reward_reasoning", judges=[JUDGE])
            ours = (time.process_time() - began) / (judged.judgments + sum(judged.missing.values()))

            scanner = scanner_of(graders()["reward_reasoning"])()
            transcripts = inspect_scout.transcripts_from(asyncio.run(database(study, Path(folder) / "transcripts")))
            told = {"model_roles": {"grader": JUDGE}, "max_processes": 1, "display": "none"}
            began = time.process_time()
            scanned = inspect_scout.scan({"reward": scanner}, transcripts, scans=str(Path(folder) / "scans"), **told)
            theirs = (time.process_time() - began) / many
            assert scanned.complete, scanned
    finally:
        server.kill()
    print(
        f"{many} traces of 540 words; CPU a judgment: cotdrift {1e3 * ours:.1f} ms, Scout {1e3 * theirs:.1f} ms, ratio {theirs / ours:.1f}"
    )


if __name__ == "__main__":
    main()
