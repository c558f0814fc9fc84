"""Run every benchmark, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

for script in (
    "words.py",
    "repetition.py",
    "eval.py",
    "stages.py",
    "intervals.py",
    "corrected.py",
    "thresholds.py",
    "monitorability.py",
    "judging.py",
    "importance.py",
    "senses.py",
    "vectors.py",
):
    subprocess.run([sys.executable, str(Path(__file__).with_name(script))], check=True)
