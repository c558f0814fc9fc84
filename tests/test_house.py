"""The house: every file says what it is, the README's map is true, and nothing heavy is paid for before it is needed."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1]
SOURCE = HOUSE / "src" / "cotdrift"
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = {
    "altair",
    "inspect_ai",
    "inspect_scout",
    "numba",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "statsmodels",
    "torch",
    "transformers",
    "wordfreq",
}
ELSEWHERE = re.compile(
    r"https?://[\w.]*pypi|extra[-]index|index[-]url|registry\s*=\s*\"|(?<![\w.~])/(?:home|root|tmp|work|Users)/[a-z]",
)

every_module = pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])


@every_module
def test_a_module_begins_with_a_sentence(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = said.partition("\n")[0]
    assert " " in first, f"{path.name} begins with {first!r}"
    assert first.endswith((".", "!", "?")), f"{path.name} begins with {first!r}"


@every_module
def test_a_module_is_short_enough_to_know_ones_way_in(path: Path) -> None:
    assert path.stat().st_size <= 24_000


def test_every_name_says_something() -> None:
    empty = re.compile(r"(^|_)(utils?|helpers?|misc|common)$|_(v\d+|new|old|final)$")
    assert [path.name for path in [*MODULES, *(HOUSE / "tests").glob("*.py")] if empty.search(path.stem)] == []


def test_the_map_in_the_readme_is_what_is_there() -> None:
    drawn = re.search(r"```text\nsrc/cotdrift/\n(.*?)```", (HOUSE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert drawn, "the README has no map"
    entries = dict(re.fullmatch(r"  (\S+)\s+(\S.*)", line).groups() for line in drawn[1].splitlines())  # type: ignore[union-attr]
    files = {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")}
    assert set(entries) == files | folders


@pytest.mark.parametrize("code", ["import cotdrift.cli", "import cotdrift"])
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    asked = f"{code}; import sys; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_file_names_a_place_on_this_machine() -> None:
    named = []
    for name in subprocess.run(["git", "ls-files"], cwd=HOUSE, capture_output=True, text=True, check=True).stdout.splitlines():
        path = HOUSE / name
        if path == Path(__file__) or not path.is_file():
            continue
        found = ELSEWHERE.search(path.read_bytes().decode("utf-8", errors="replace"))
        if found:
            named.append(f"{name}: {found[0]}")
    assert named == []


def test_constraints_are_names_and_versions_only() -> None:
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []
    assert lines == sorted(lines)
