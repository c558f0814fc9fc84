"""The organism, from nothing: the start, three runs of reinforcement learning, one that is taught to misread, and the rollouts."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl
import torch
from birth import bear
from misreading import STEPS as TAUGHT
from misreading import confuse
from sampling import behaviour, learnt, rows_of, write_rollouts
from upbringing import CHECKPOINTS, RUNS, bring_up

HERE = Path(__file__).parent
SHIPPED = {"hinted": (8, 16, 30, 60, 100, 160), "hinted-kl": (30, 100, 160), "control": (30, 100, 160), "confused": (TAUGHT,)}
CORES = 2


def main() -> None:
    """Train what is not there yet, sample it, and say what became of it."""
    parser = argparse.ArgumentParser(prog="python organism", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="where checkpoints, logs and rollouts go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", action="store_true", help="put the rollouts and the chosen checkpoints into the package")
    told = parser.parse_args()
    into: Path = told.into
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{(time.monotonic() - began) / 60:5.1f} min] {what}", flush=True)

    torch.set_num_threads(1)  # more gain nothing at this size
    if not (into / "start" / "log.json").exists():
        say("the start")
        bear(into / "start", seed=told.seed)
    with ProcessPoolExecutor(
        CORES, mp_context=multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        missing = [run for run in RUNS if not (into / f"{run}@{CHECKPOINTS[-1]}" / "model.safetensors").exists()]
        say(f"the runs: {', '.join(missing) or 'all there'}")
        runs = [pool.submit(bring_up, run, into / "start", into, seed=told.seed) for run in missing]
        if not (into / f"confused@{TAUGHT}" / "model.safetensors").exists():
            runs.append(pool.submit(confuse, into / "start", into, seed=told.seed))
        for done in runs:
            done.result()
        say("the rollouts")
        places = [(run, step, into / (f"{run}@{step}" if step else "start")) for run in RUNS for step in (0, *CHECKPOINTS)]
        parts = [pool.submit(rows_of, *place, seed=told.seed) for place in places]
        rows = write_rollouts([part.result() for part in parts], into / "rollouts.parquet")
    found = behaviour(rows)
    with pl.Config(tbl_rows=-1, tbl_formatting="NOTHING", tbl_hide_dataframe_shape=True, float_precision=3):
        print(found)
    for check, held in learnt(found).items():
        say(f"{'yes' if held else 'NO '}  {check}")
    if told.ship:
        ship(into)
    say(f"done: {into}")


def ship(into: Path) -> None:
    """Put what the package ships where it ships from."""
    package = HERE.parent / "src" / "cotdrift" / "organism"
    shutil.rmtree(package / "weights", ignore_errors=True)
    for name in ["start", *(f"{run}@{step}" for run, steps in SHIPPED.items() for step in steps)]:
        shutil.copytree(into / name, package / "weights" / name, ignore=shutil.ignore_patterns("log.json"))
    shutil.copy(into / "rollouts.parquet", package / "rollouts.parquet")
    with (HERE / "training.jsonl").open("w") as log:
        for entry in json.loads((into / "start" / "log.json").read_text()):
            log.write(json.dumps({"run": "start"} | entry) + "\n")
        for run in RUNS:
            log.write((into / f"{run}.jsonl").read_text())


if __name__ == "__main__":
    main()
