"""The command line: documented shapes, exit codes that say what happened, faults in one sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cotdrift.cli import main

Rollouts = Callable[..., Path]


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    def call(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["cotdrift", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ran(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def study(rollouts: Rollouts, tmp_path: Path, run: Callable[..., Ran]) -> Path:
    into = tmp_path / "study"
    assert run("ingest", rollouts(prompts=18), "--into", into).code == 0
    return into


def test_ingest_says_what_became_of_each_file(rollouts: Rollouts, tmp_path: Path, run: Callable[..., Ran]) -> None:
    done = run("ingest", rollouts(), "--into", tmp_path / "study", "--json").json
    assert (done["traces"], done["rejected"], done["rejected_file"]) == (4 * 12 * 4, 0, None)
    (source,) = done["sources"]
    assert source["status"] == "ingested" and source["format"] == "jsonl"


def test_a_bad_record_is_named_kept_and_told_by_the_exit_code(rollouts: Rollouts, tmp_path: Path, run: Callable[..., Ran]) -> None:
    path = rollouts(steps=(0,))
    with path.open("a") as lines:
        lines.write('{"run": "toy", "step": "soon", "prompt_id": "p", "reasoning": "hm"}\n')
    done = run("ingest", path, "--into", tmp_path / "study")
    assert done.code == 3
    assert "rollouts.jsonl:49: step: " in done.err
    assert "soon" in (tmp_path / "study" / "rejected.jsonl").read_text()
    again = run("ingest", path, "--into", tmp_path / "study")
    assert again.code == 3 and "already there" in again.out


def test_trend_is_a_list_with_an_entry_a_run(study: Path, run: Callable[..., Ran]) -> None:
    (entry,) = run("trend", study, "reasoning_words", "--json").json
    assert entry["run"] == "toy"
    assert [point["step"] for point in entry["points"]] == [0, 100, 200, 300]
    first = entry["points"][0]
    assert first["low"] < first["value"] < first["high"] and (first["traces"], first["prompts"]) == (72, 18)
    assert entry["onset"]["step"] == 200
    assert entry["contrast"]["p"] < 0.01 and entry["contrast"]["value"] < 0


def test_a_planted_word_is_found_with_its_onset(study: Path, run: Callable[..., Ran]) -> None:
    rows = {row["term"]: row for row in run("terms", study, "--against", "start", "--json").json}
    found = rows["overshadow"]
    assert found["reference"] == 0 and found["ratio"] is None and found["low"] > 2
    assert found["p_adjusted"] < 0.01 and found["family"] == "watch" and found["spread"] < 0.5
    (entry,) = run("trend", study, "--term", "overshadow", "--json").json
    assert entry["onset"]["step"] == 200


@pytest.mark.parametrize("against", ["human", "answers"])
def test_terms_against_other_references_have_the_same_rows(study: Path, run: Callable[..., Ran], against: str) -> None:
    rows = run("terms", study, "--against", against, "--json").json
    wanted = {"term", "rate", "reference", "ratio", "low", "high", "p_adjusted", "spread", "traces", "prompts"}
    assert rows and all(wanted <= set(row) for row in rows)


def test_an_outcome_has_a_trend_too(study: Path, run: Callable[..., Ran]) -> None:
    (entry,) = run("trend", study, "reward", "--json").json
    assert 0.3 < entry["points"][0]["value"] < 0.7


def test_show_gives_the_uses_and_the_trace(study: Path, run: Callable[..., Ran]) -> None:
    uses = run("show", study, "overshadow", "--json").json["passages"]
    assert uses and all(use["hit"] == "overshadow" and use["step"] >= 200 for use in uses)
    trace = run("show", study, uses[0]["transcript_id"], "--json").json
    assert "overshadow" in trace["reasoning"]
    assert "No raw reasoning" in run("show", study, "unheardof").out


def test_report_does_it_all_in_one_go(rollouts: Rollouts, tmp_path: Path, run: Callable[..., Ran]) -> None:
    done = run("report", rollouts(), "--into", tmp_path / "study", "--json").json
    page = Path(done["report"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert any("overshadow" in sentence for sentence in done["sentences"])
    assert done["study"] == str(tmp_path / "study")
    assert done["serving"][0].startswith("Of 192 traces that were looked at, none of the checks speaks against the server")
    checked = run("check", tmp_path / "study", "--json").json
    assert checked["trusted"] and checked["traces"] == 192 and checked["sentences"] == done["serving"]
    assert {one["check"] for one in checked["checked"]} >= {"soup", "bytes", "tokens", "echo", "no answer", "cut off"}
    assert run("check", tmp_path / "study").out.startswith("Of 192 traces")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trend", "STUDY", "reasoning_word"), "No measure, outcome or grader is called 'reasoning_word'. Did you mean 'reasoning_words'?"),
        (("trend", "STUDY", "reasoning_words", "--run", "ty"), "No run is called 'ty'. Did you mean 'toy'?"),
        (("terms", "STUDY", "--step", "7"), "No step is called '7'."),
        (("trend", "nowhere", "hedging"), "nowhere: there is no study here."),
        (("ingest", "nowhere.jsonl", "--into", "new-study"), "nowhere.jsonl: there is no such file"),
    ],
)
def test_a_fault_is_one_sentence_with_a_way_out(study: Path, run: Callable[..., Ran], words: tuple[str, ...], said: str) -> None:
    done = run(*(study if word == "STUDY" else word for word in words))
    assert done.code == 1 and not Path("new-study").exists()
    assert said in done.err and "Traceback" not in done.err and done.err.count("\n") == 1


def test_a_map_that_is_no_pair_is_explained(rollouts: Rollouts, tmp_path: Path, run: Callable[..., Ran]) -> None:
    done = run("ingest", rollouts(), "--into", tmp_path / "study", "--map", "reasoning")
    assert done.code == 2 and "Write for example --map reasoning=thinking" in done.err


def test_a_truth_that_names_no_outcome_says_how_to_write_it(rollouts: Rollouts, tmp_path: Path, run: Callable[..., Ran]) -> None:
    done = run("report", rollouts(), "--into", tmp_path / "study", "--truth", "metagaming")
    assert done.code == 2
    assert "'metagaming' is not GRADER=OUTCOME. Write for example --truth reward_reasoning=mentions_grader." in done.err


def test_the_command_is_installed() -> None:
    done = subprocess.run([sys.executable, "-m", "cotdrift", "--version"], capture_output=True, text=True, check=True)
    assert "cotdrift" in done.stdout
