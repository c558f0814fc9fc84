"""What ingesting owes its users: nothing twice, nothing lost, nothing half done."""

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cotdrift.errors import DuplicateId, InputError
from cotdrift.format import Reading
from cotdrift.study import Study

Rollouts = Callable[..., Path]


def ids(study: Study) -> list[str]:
    return sorted(study.corpus.scan().select("transcript_id").collect()["transcript_id"])


def test_the_same_file_twice_changes_nothing(rollouts: Rollouts, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    study.ingest([rollouts()])
    before = ids(study), study.corpus.files
    (again,) = study.ingest([rollouts()])
    assert again.status == "already there"
    assert (ids(study), study.corpus.files) == before


def test_a_file_that_grew_is_read_again(rollouts: Rollouts, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    study.ingest([rollouts(steps=(0, 100))])
    (again,) = study.ingest([rollouts(steps=(0, 100, 200))])
    assert again.status == "read again"
    assert len(ids(study)) == 3 * 12 * 4 and len(study.corpus.sources) == 1


def test_a_file_read_another_way_replaces_the_first_reading(rollouts: Rollouts, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    path = rollouts()
    study.ingest([path])
    study.ingest([path], Reading(run="renamed"))
    assert list(study.runs) == ["renamed"]


def test_a_copy_of_a_file_is_named_with_its_original(rollouts: Rollouts, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    path = rollouts()
    copy = path.with_name("copy.jsonl")
    copy.write_bytes(path.read_bytes())
    study.ingest([path])
    with pytest.raises(DuplicateId, match=r"copy\.jsonl holds the same traces as .*rollouts\.jsonl"):
        study.ingest([copy])
    assert len(study.corpus.sources) == 1


def test_a_duplicate_id_names_both_places(rollouts: Rollouts, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    path = rollouts(steps=(0,), prompts=1, reps=2)
    other = path.with_name("other.jsonl")
    first, _ = path.read_text().splitlines()
    other.write_text(first + "\n" + json.dumps(json.loads(first) | {"rep": 9}) + "\n")
    study.ingest([path])
    (done,) = study.ingest([other])
    assert (done.traces, done.rejected) == (1, 1)
    assert "other.jsonl:1" in done.faults[0] and "rollouts.jsonl:1" in done.faults[0]
    kept = json.loads(study.rejected.read_text())
    assert "toy:step-0:algebra:algebra-0:0" in kept["fault"]


def test_samples_without_numbers_are_numbered_over_files(tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    shards = []
    for shard in range(2):
        path = tmp_path / f"rank{shard}.jsonl"
        path.write_text(
            "".join(json.dumps({"prompt_id": "p", "step": 1, "reasoning": f"{shard} {n}", "answer": ""}) + "\n" for n in range(2))
        )
        shards.append(path)
    study.ingest(shards, Reading(run="toy", environment="env"))
    assert sorted(study.corpus.scan().collect()["rep"]) == [0, 1, 2, 3]


def test_a_folder_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="this is no study, and not empty"):
        Study.make(tmp_path)
    with pytest.raises(InputError, match="there is no study here"):
        Study.open(tmp_path)


PASS = """
import sys
from cotdrift.study import Study
study = Study.make(sys.argv[1])
study.ingest(sys.argv[2:])
study.measure("reasoning_words", "whitespace_ratio")
study.count_words()
"""


@pytest.mark.slow
def test_a_pass_killed_at_any_moment_loses_nothing_and_finishes_next_time(rollouts: Rollouts, tmp_path: Path) -> None:
    files = [str(rollouts(f"shard{n}.jsonl", steps=(100 * n, 100 * n + 50), prompts=6)) for n in range(4)]
    whole = Study.make(tmp_path / "whole")
    command = [sys.executable, "-c", PASS]
    subprocess.run([*command, str(whole.folder), *files], check=True)
    began = time.monotonic()
    subprocess.run([*command, str(tmp_path / "timed"), *files], check=True)  # the first may have compiled kernels
    took = time.monotonic() - began
    killed = Study(tmp_path / "killed")
    rng = random.Random(0)
    seen: set[str] = set()
    for _ in range(6):
        running = subprocess.Popen([*command, str(killed.folder), *files])
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=took * rng.uniform(0.3, 1.0))
        running.kill()  # SIGKILL
        running.wait()
        there = set(ids(killed))
        assert seen <= there  # nothing that was there is gone
        seen = there
    subprocess.run([*command, str(killed.folder), *files], check=True)
    assert ids(killed) == ids(whole)
    key = ["transcript_id", "measure"]
    rows = [study.measurements.scan().select(*key, "value").sort(key).collect() for study in (killed, whole)]
    assert rows[0].equals(rows[1])
    assert [path for path in killed.folder.rglob("*") if "unfinished" in path.name or "staging" in str(path.parent)] == []


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_a_frame_is_read_like_a_file(tmp_path: Path, kind: str) -> None:
    rows = {"step": [0, 0], "prompt_id": ["p", "q"], "reasoning": ["Maybe.", "Perhaps not."], "answer": ["4", "5"]}
    frame = pytest.importorskip(kind).DataFrame(rows)
    study = Study.make(tmp_path / "study")
    (done,) = study.ingest([frame], Reading(run="toy"))
    assert (done.traces, list(study.runs)) == (2, ["toy"])
    assert study.ingest([frame], Reading(run="toy"))[0].status == "already there"
