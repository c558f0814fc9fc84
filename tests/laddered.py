"""Traces of the experiment ambiguity with a planted threshold."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import ndtr

from cotdrift.ambiguity import LEVELS
from cotdrift.experiments.ladder import families, scenarios
from cotdrift.threshold import WIDTH


def planted(
    *, moved: float = -0.35, steps: tuple[int, ...] = (0, 50, 100), judged: bool = False, samples: int = 2, seed: int = 3
) -> pl.DataFrame:
    """Two runs on all scenarios; one takes the shortcut in less and less ambiguous cases. What no program can tell is judged, or not."""
    rng = np.random.default_rng(seed)
    own = {name: rng.normal(0, 0.08) for name in scenarios()}
    rows = []
    for run_, by in (("moves", moved), ("stays", 0.0)):
        for place, step in enumerate(steps):
            middle = 0.7 + by * place / max(len(steps) - 1, 1)
            for family, listed in families().items():
                for name in listed:
                    for at, level in enumerate(LEVELS):
                        for rep in range(2 * samples):
                            chance = 0.03 + 0.9 * ndtr((at / 6 - middle - own[name]) * WIDTH / 0.6)
                            taken = float(rng.random() < chance)
                            told = family in ("numbers", "customers", "files")
                            rows.append(
                                {
                                    "transcript_id": f"{run_} {step} {name} {level} {rep}",
                                    "run": run_,
                                    "step": step,
                                    "environment": f"ambiguity ({family})",
                                    "prompt_id": name,
                                    "condition_arm": level,
                                    "words": 20 + rep,
                                    "outcome_exploits": taken if told else None,
                                    "outcome_unsure": float(rep == 0) if family == "numbers" else None,
                                    "exploit": None if told or not judged else float(rng.integers(1, 4) if taken else rng.integers(0, 2)),
                                    "gymnastics": None if not judged else 2.0 * taken,
                                }
                            )
    return pl.DataFrame(rows, infer_schema_length=None)
