"""How long each stage takes from rollouts to the page, on a run of many traces.

python benchmarks/stages.py 100000
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from random import Random

import numpy as np
import wordfreq

from cotdrift.find import find
from cotdrift.report import write_report
from cotdrift.study import Study

STEPS = (0, 20, 50, 100, 150, 200, 300, 400, 600, 800)
PROMPTS = 500
ENVIRONMENTS = ("algebra", "coding", "planning", "reading")


def write_rollouts(path: Path, traces: int, *, seed: int = 0) -> None:
    """A run whose reasoning gets shorter and takes up a word from step 100 on; a fifth of its prompts use rare words of their own."""
    rng, chance = np.random.default_rng(seed), Random(seed)
    words = [word for word in wordfreq.top_n_list("en", 20_000) if word.isalpha()]
    weights = 1 / np.arange(10, len(words) + 10)
    reps = traces // (PROMPTS * len(STEPS))
    with path.open("w", encoding="utf-8") as lines:
        for step in STEPS:
            length = 260 if step < 100 else 180
            for prompt in range(PROMPTS):
                for rep in range(reps):
                    drawn = rng.choice(len(words), max(20, int(rng.normal(length, 60))), p=weights / weights.sum())
                    said = [words[at] for at in drawn]
                    if step >= 100 and chance.random() < 0.3:
                        said.insert(3, "overshadow")
                    sentences = [" ".join(said[at : at + 14]).capitalize() + "." for at in range(0, len(said), 14)]
                    where = {"run": "large", "step": step, "environment": ENVIRONMENTS[prompt % 4], "prompt_id": f"p{prompt}", "rep": rep}
                    record = {
                        **where,
                        "reasoning": " ".join(sentences),
                        "answer": f"The answer is {prompt % 7}.",
                        "reward": chance.random(),
                    }
                    lines.write(json.dumps(record) + "\n")


def main() -> None:
    """Write the rollouts, take them to the page, and say what each stage took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="?", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rollouts = Path(temporary) / "rollouts.jsonl"
        write_rollouts(rollouts, asked.traces)
        study = Study.make(Path(temporary) / "study")
        began = time.perf_counter()
        stages: dict[str, float] = {}

        def done(stage: str) -> None:
            stages[stage] = time.perf_counter() - began - sum(stages.values())

        study.ingest([rollouts])
        done("ingest")
        study.measure()
        done("measure")
        study.count_words()
        done("count_words")
        findings = find(study)
        done("compare")
        page = write_report(findings, study.folder / "report.html")
        done("report")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told = " ".join(f"{stage}={seconds:.1f}s" for stage, seconds in stages.items())
        size = f"text_mb={rollouts.stat().st_size / 2**20:.0f} page_mb={page.stat().st_size / 2**20:.1f}"
        print(f"bench: stages_{asked.traces} ratio=1 ours={sum(stages.values()):.1f}s {told} {size} rss_mb={peak:.0f}")


if __name__ == "__main__":
    main()
