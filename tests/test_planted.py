"""A change planted in real traces is found, from the step it was planted at; where none was planted, none is."""

import gzip
import json
import random
import re
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest

from cotdrift.study import Study

STEPS = (0, 100, 200, 400)
ONSET = 200
MODELS = ("gpt-oss-120b", "kimi-k2-thinking", "glm-4.7")


def write_run(path: Path, traces: Path, *, word: str | None) -> Path:
    """The samples of each prompt dealt out over steps; a word doubled from the onset on, in every second prompt."""
    rng = random.Random(0)
    prompts: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for model in MODELS:
        with gzip.open(traces / f"{model}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                if record.get("prompt_sha") and record.get("thinking"):
                    prompts[model, record["prompt_sha"]].append(record)
    asked = sorted((prompt, samples) for prompt, samples in prompts.items() if len(samples) >= len(STEPS))
    with path.open("w", encoding="utf-8") as run:
        for number, ((model, prompt), samples) in enumerate(asked):
            rng.shuffle(samples)
            for place, sample in enumerate(samples):
                step, reasoning = STEPS[place % len(STEPS)], sample["thinking"]
                if word and step >= ONSET and number % 2 == 0:
                    reasoning = re.sub(rf"\b{word}\b", f"{word} {word}", reasoning)
                where = {"run": "dealt", "step": step, "environment": model, "prompt_id": prompt}
                run.write(json.dumps({**where, "reasoning": reasoning, "answer": sample["response"] or ""}) + "\n")
    return path


@pytest.mark.shared
@pytest.mark.parametrize("planted", [True, False])
def test_a_doubled_word_is_found_alone_and_from_its_step_on(shared: Path, tmp_path: Path, planted: bool) -> None:
    study = Study.make(tmp_path / "study")
    study.ingest([write_run(tmp_path / "run.jsonl", shared / "multimodel_traces", word="should" if planted else None)])
    rows = study.terms(against="start")
    assert rows.filter(pl.col("p_adjusted") < 0.05)["term"].to_list() == (["should"] if planted else [])
    assert (rows["p"] < 0.05).mean() <= 0.07
    (trend,) = study.trend("should", term=True)
    assert (trend.onset.step if trend.onset else None) == (ONSET if planted else None)
