"""The labelling page's server: this machine alone, nothing without the token, and nothing kept is ever lost."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from cotdrift.cli import cli
from cotdrift.errors import InputError
from cotdrift.grader import read_grader
from cotdrift.labelling.draw import Design
from cotdrift.labelling.labels import Labels
from cotdrift.labelling.server import PAGE, Served, serving
from cotdrift.labelling.sitting import sit
from cotdrift.study import Study

REWARD = """---
question: Does the reasoning speak of its reward?
answers: {yes: It names it, no: It does not}
---
Does this speak of reward?

{reasoning}
"""


@pytest.fixture
def study(rollouts: Callable[..., Path], tmp_path: Path) -> Path:
    Study.make(tmp_path / "study").ingest([rollouts()])
    (tmp_path / "reward.md").write_text(REWARD)
    return tmp_path / "study"


@pytest.fixture
def served(study: Path) -> Iterator[Served]:
    with Labels(study / "labels.sqlite") as labels:
        sitting = sit(Study.open(study).corpus, labels, read_grader(study.parent / "reward.md"), Design(annotator="ana", limit=20))
        with serving(sitting) as running:
            yield running


def post(served: Served, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(served.address + path, content=json.dumps(body), headers={"Content-Type": "application/json"} | headers)


def test_the_page_and_its_parts_are_there_under_a_strict_policy(served: Served) -> None:
    assert served.address.startswith("http://127.0.0.1:")
    for path, (_, _, kind) in PAGE.items():
        got = httpx.get(served.address + path)
        assert got.status_code == 200 and got.headers["content-type"].startswith(kind)
        policy = got.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert got.headers["referrer-policy"] == "no-referrer" and got.headers["cache-control"] == "no-store"
    assert "http" not in httpx.get(served.address).text


def test_nothing_is_given_without_the_token_or_under_another_name(served: Served) -> None:
    root = served.address.removesuffix(urlsplit(served.address).path)
    for path in ("/", "/now", "/question", "/page.js", "/x/now", served.address[len(root) : -2] + "/now"):
        assert httpx.get(root + path).status_code == 404
    port = urlsplit(served.address).port
    for host, status in (("evil.example", 400), (f"evil.example:{port}", 400), ("localhost", 200), (f"127.0.0.1:{port}", 200)):
        assert httpx.get(served.address + "now", headers={"Host": host}).status_code == status


def test_what_a_form_elsewhere_could_send_is_not_taken(served: Served) -> None:
    assert httpx.post(served.address + "undo", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert httpx.get(served.address + "undo").status_code == 405


def test_an_answer_is_kept_and_the_next_case_comes_back(served: Served, study: Path) -> None:
    place = httpx.get(served.address + "now").json()["case"]["place"]
    now = post(served, "label", {"place": place, "label": "yes", "note": "\u202enote", "seconds": 1.5}).json()
    assert now["progress"]["labelled"] == 1 and now["case"]["place"] != place
    with Labels(study / "labels.sqlite") as labels:
        (row,) = labels.frame().to_dicts()
    assert (row["label"], row["note"], row["seconds"], row["annotator"]) == ("yes", "\u202enote", 1.5, "ana")


@pytest.mark.parametrize(
    "body",
    [
        {"place": 0, "label": "perhaps"},
        {"place": 500, "label": "yes"},
        {"place": 0, "label": "yes", "seconds": -1},
        {"place": 0, "label": "yes", "step": 100},
        {"label": "yes"},
        [],
        {"place": 0, "label": "yes", "note": "x" * 30_000},
        {"place": 0, "label": "yes", "note": "\ud800"},
    ],
)
def test_what_cannot_be_kept_is_refused_with_a_sentence(served: Served, study: Path, body: Any) -> None:
    refused = post(served, "label", body)
    assert refused.status_code == 400 and refused.json()["fault"].endswith((".", "anew."))
    with Labels(study / "labels.sqlite") as labels:
        assert labels.entries() == []


def test_a_port_that_is_taken_is_named(served: Served, study: Path) -> None:
    port = urlsplit(served.address).port or 0
    with Labels(study / "other.sqlite") as labels:
        sitting = sit(Study.open(study).corpus, labels, read_grader(study.parent / "reward.md"), Design(annotator="bo", limit=20))
        with pytest.raises(InputError, match=f"--port {port}: .*free one"), serving(sitting, port=port):
            pass


def started(study: Path, *words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """The command in a process of its own, and the line it begins with."""
    asked = [sys.executable, "-m", "cotdrift", "label", str(study), str(study.parent / "reward.md"), "--annotator", "ana", "--json", *words]
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_kept(study: Path) -> None:
    kept: list[int] = []
    lives = 0
    while len(kept) < 80 and lives < 4:
        process, begun = started(study, "--limit", "150")
        assert begun["labelled"] in (len(kept), len(kept) + 1)  # the one on the screen may have been written as the server died
        kept += [-1] * (begun["labelled"] - len(kept))

        def go_on(address: str = begun["address"], kept: list[int] = kept) -> None:
            case = httpx.get(address + "now").json()["case"]
            while True:
                try:
                    body = {"place": case["place"], "label": "yes", "seconds": 1.0}
                    case = httpx.post(address + "label", json=body).json()["case"]
                except httpx.HTTPError:
                    return
                kept.append(case["place"])

        worker = Thread(target=go_on)
        worker.start()
        before = len(kept)
        while len(kept) < before + 10:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.wait()
        worker.join()
        if process.stdout is not None:
            process.stdout.close()
        lives += 1
    database = sqlite3.connect(study / "labels.sqlite")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    with Labels(study / "labels.sqlite") as labels:
        assert labels.frame().height in (len(kept), len(kept) + 1)
        assert len(labels.entries()) == labels.frame().height
    assert lives >= 2


@pytest.mark.slow
def test_ctrl_c_ends_it_and_says_how_far_it_got(study: Path) -> None:
    process, begun = started(study, "--limit", "20", "--seed", "3")
    assert {"address", "annotator", "question", "cases", "labelled", "skipped", "seconds"} <= begun.keys()
    case = httpx.get(begun["address"] + "now").json()["case"]
    httpx.post(begun["address"] + "label", json={"place": case["place"], "label": "no"})
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(rest)["labelled"] == 1


def run(*words: object) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_labels_are_read_in_and_written_by_the_command(study: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("transcript_id,label\na,yes\nb,no\n")
    said = run("label", study, tmp_path / "reward.md", "--annotator", "bo", "--import", tmp_path / "mine.csv")
    assert said.exit_code == 0 and "2 labels read in, 0 were there already" in said.output
    told = run("label", study, tmp_path / "reward.md", "--export", tmp_path / "out.scout.csv", "--json")
    assert json.loads(told.output)["export"]["written"] == 2
    assert (tmp_path / "out.scout.csv").read_text().splitlines()[1] == "a,true,"


def test_judgments_steer_what_is_drawn(study: Path, tmp_path: Path) -> None:
    import polars as pl

    ids = Study.open(study).corpus.scan().select("transcript_id").collect()["transcript_id"].to_list()
    said = pl.DataFrame({"transcript_id": ids, "judge": "j", "value": [float(place < 8) for place in range(len(ids))], "quote": ""})
    said.write_parquet(tmp_path / "judged.parquet")
    process, begun = started(study, "--sample", "active", "--limit", "20", "--judgments", str(tmp_path / "judged.parquet"))
    process.kill()
    process.communicate()
    assert begun["cases"] == 21
    with Labels(study / "labels.sqlite") as labels:
        drawn = labels.drawn("reward", read_grader(tmp_path / "reward.md").sha, annotator="ana") or []
    assert sum(case.transcript_id in ids[:8] for case in drawn) >= 5


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("nothing.md",), "nothing.md: there is no such file"),
        (("no_such_grader",), "No grader is called 'no_such_grader'"),
        (("reward.md", "--sample", "active"), "Give --judgments FILE"),
        (("reward.md", "--export", "labels.txt"), "labels.txt: labels are not written to such a file"),
        (("reward.md", "--import", "nothing.csv"), "nothing.csv: there is no such file"),
        (("reward.md", "--sample", "active", "--judgments", "nothing.csv"), "nothing.csv: the judgments cannot be read"),
    ],
)
def test_a_fault_is_one_sentence(study: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], fault: str) -> None:
    monkeypatch.chdir(study.parent)
    done = run("label", study, *words)
    assert isinstance(done.exception, InputError) and fault in str(done.exception)


def test_without_a_web_server_it_says_how_to_get_one(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in ("cotdrift.labelling.server", "cotdrift.loopback"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    done = run("label", study, study.parent / "reward.md")
    assert isinstance(done.exception, InputError) and "pip install 'cotdrift[label]'" in str(done.exception)
