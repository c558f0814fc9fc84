"""What the tests share: real traces beside the repository, and a small run with a known drift."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("cotdrift", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cotdrift")

ENVIRONMENTS = ("algebra", "coding", "planning")

OPENINGS = ("Let me look at", "We need to work through", "First I should read", "The task is about", "So we are asked for")
STEPS = (
    "the numbers in the second line do not add up to the total we were given",
    "that means the left side has to be larger than the right side by three",
    "I could try a smaller case and see whether the same pattern holds there",
    "if the list is empty the loop never runs and the result stays at zero",
    "the question only asks for the last value, so the order does not matter",
    "we can move the shorter job to the morning and keep the afternoon free",
    "checking the unit again, it is hours and not minutes in the statement",
    "another way is to sort them once and then walk from both ends",
    "it would be wrong to count the first item twice in this sum",
    "the function should return early when the input has one element",
)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real model output kept beside the repository; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("there is no shared/data beside the repository")
    return folder


@pytest.fixture
def rollouts(tmp_path: Path) -> Callable[..., Path]:
    """Write a small run: the word `word` is said ever more often from step `onset` on, and reasoning gets shorter."""

    def write(
        name: str = "rollouts.jsonl",
        *,
        steps: tuple[int, ...] = (0, 100, 200, 300),
        prompts: int = 12,
        reps: int = 4,
        word: str = "overshadow",
        onset: int = 200,
        seed: int = 0,
    ) -> Path:
        rng = random.Random(seed)
        path = tmp_path / name
        with path.open("w", encoding="utf-8") as lines:
            for step in steps:
                for prompt in range(prompts):
                    for rep in range(reps):
                        record = _record(rng, step=step, prompt=prompt, rep=rep, word=word if step >= onset else "")
                        lines.write(json.dumps(record) + "\n")
        return path

    return write


def _record(rng: random.Random, *, step: int, prompt: int, rep: int, word: str) -> dict[str, object]:
    environment = ENVIRONMENTS[prompt % len(ENVIRONMENTS)]
    said = [f"{rng.choice(OPENINGS)} problem {environment} again."]
    for _ in range(rng.randint(3, 6) if word else rng.randint(6, 12)):
        sentence = rng.choice(STEPS)
        if word and rng.random() < 0.35:
            sentence += f", and {word} that"
        said.append(sentence[0].upper() + sentence[1:] + ".")
    return {
        "run": "toy",
        "step": step,
        "environment": environment,
        "prompt_id": f"{environment}-{prompt}",
        "rep": rep,
        "prompt": f"Solve {environment} problem {prompt}.",
        "reasoning": " ".join(said),
        "answer": f"The answer is {rng.randint(1, 9)}.",
        "reward": float(rng.random() < 0.5),
    }
