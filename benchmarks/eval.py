"""How fast a .eval log of 4,000 samples is read, reasoning and all, beside Inspect's own ways to read it."""

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAMPLES = 4_000
GENUINE = 20
"""Samples that Inspect itself runs; the others are copies of these with other texts."""

WORDS = "the we so if then sum of a to need check that value is not let me think again maybe first order list number from it".split()


def made(folder: Path, samples: int) -> Path:
    """A log in Inspect's shape, with events and reasoning of some 900 words a sample."""
    from inspect_ai import Task
    from inspect_ai import eval as run_eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    def outputs() -> Iterator[ModelOutput]:
        for number in range(GENUINE):
            content = [ContentReasoning(reasoning=f"REASONING{number:06d}"), ContentText(text="4")]
            usage = ModelUsage(input_tokens=12, output_tokens=220, reasoning_tokens=200, total_tokens=232)
            yield ModelOutput(
                model="mockllm/model", choices=[{"message": ChatMessageAssistant(content=content), "stop_reason": "stop"}], usage=usage
            )

    task = Task(
        dataset=[Sample(id=number, input=f"2+2? {number}", target="4") for number in range(GENUINE)], solver=generate(), scorer=match()
    )
    model = get_model("mockllm/model", custom_outputs=outputs(), memoize=False)
    run_eval(task, model=model, log_dir=str(folder), display="none", metadata={"checkpoint_step": 100, "run": "bench"})
    [small] = folder.glob("*.eval")
    path = folder / "large" / "log.eval"
    path.parent.mkdir()
    copied(small, path, samples)
    return path


def copied(small: Path, path: Path, samples: int) -> None:
    """The log with its samples copied over and over, each with an id and a text of its own."""
    rng = random.Random(0)
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        names = source.namelist()
        parts = [source.read(name).decode() for name in names if name.startswith("samples/")]
        summary = next(one for one in json.loads(source.read("summaries.json")))
        for name in names:
            if name == "_journal/start.json":
                target.writestr(name, enlarged(source.read(name), samples))
        summaries = []
        for number in range(samples):
            text = " ".join(rng.choices(WORDS, k=900))
            one = re.sub(r"REASONING\d{6}", text, parts[number % len(parts)])
            for message in set(re.findall(r'"id": ?"(\w{22})"', one)):  # frames take messages of one id for one message
                one = one.replace(message, f"{message[:16]}{number:06d}")
            sample: dict[str, Any] = json.loads(one) | {"id": number, "uuid": f"uuid{number}"}
            target.writestr(f"samples/{number}_epoch_1.json", json.dumps(sample))
            summaries.append(summary | {"id": number, "uuid": f"uuid{number}"})
        target.writestr("summaries.json", json.dumps(summaries))
        target.writestr("header.json", enlarged(source.read("header.json"), samples))


def enlarged(header: bytes, samples: int) -> str:
    """The header of a log with so many samples; Inspect reads those that it names."""
    log = json.loads(header)
    log["eval"]["dataset"] |= {"samples": samples, "sample_ids": list(range(samples))}
    return json.dumps(log)


def ours(path: Path) -> int:
    """Every sample as a trace."""
    from cotdrift.format import Reading
    from cotdrift.formats import identify

    return sum(len(trace.reasoning) for trace in identify(path).read(path, Reading(), lambda _: None))


def read_eval_log_samples(path: Path) -> int:
    """Inspect's reader, one sample at a time."""
    from inspect_ai import log
    from inspect_ai.model import ContentReasoning

    found = 0
    for sample in log.read_eval_log_samples(str(path)):
        for message in sample.messages:
            if message.role == "assistant" and isinstance(message.content, list):
                found += sum(len(block.reasoning) for block in message.content if isinstance(block, ContentReasoning))
    return found


def reasoning(message: Any) -> str:
    """The reasoning blocks of a message, which Inspect's frames leave out unless asked."""
    blocks = message.content if isinstance(message.content, list) else []
    return "\n".join(block.reasoning for block in blocks if block.type == "reasoning")


def messages_df(path: Path) -> int:
    """Inspect's frame of messages, with a column for the reasoning."""
    from inspect_ai import analysis

    columns = [*analysis.MessageColumns, analysis.MessageColumn("reasoning", path=reasoning)]
    frame = analysis.messages_df(str(path), columns=columns, filter=lambda message: message.role == "assistant", quiet=True)
    return sum(len(text) for text in frame["reasoning"])


CONTENDERS = {"ours": ours, "read_eval_log_samples": read_eval_log_samples, "messages_df": messages_df}


def one_pass(name: str, path: Path, warm: Path) -> None:
    """Read the log once, when everything is imported, and print seconds, peak megabytes and characters found."""
    CONTENDERS[name](warm)
    before = time.perf_counter()
    found = CONTENDERS[name](path)
    seconds = time.perf_counter() - before
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps([seconds, int(peak[1]) / 1024 if peak else 0, found]))


def main() -> None:
    """Write the log, let everyone read it in turn, and say how they did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = made(folder, asked.samples)
        [warm] = folder.glob("*.eval")
        seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        memory = dict.fromkeys(CONTENDERS, 0.0)
        read: dict[str, int] = {}
        for _ in range(asked.rounds):
            for name in CONTENDERS:
                command = [sys.executable, "-P", __file__, "--pass", name, str(path), str(warm)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                took, memory[name], read[name] = json.loads(done.stdout.splitlines()[-1])
                seconds[name].append(took)
        if len(set(read.values())) > 1:
            raise SystemExit(f"They did not read the same: {read}")
        took = statistics.median(seconds["ours"])
        size = path.stat().st_size / 1e6
        for name in list(CONTENDERS)[1:]:
            other = statistics.median(seconds[name])
            print(
                f"bench: eval_{name} ratio={other / took:.1f} ours={took:.3f}s other={other:.2f}s rss_mb={memory['ours']:.0f} "
                f"other_rss_mb={memory[name]:.0f} samples={asked.samples} disk_mb={size:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        one_pass(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
