"""The documentation shows what is there: every example is run, every generated page is the present one."""

import contextlib
import doctest
import importlib.util
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cotdrift.cli import cli
from cotdrift.format import Format
from cotdrift.measure import Measure
from cotdrift.shelf import collect

HOUSE = Path(__file__).resolve().parents[1]
DOCS = HOUSE / "docs"

BLOCK = re.compile(r"^```(python|pycon|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

GENERATED = ("cli.md", "measures.md")
PAGES = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted(page for page in DOCS.glob("*.md") if page.name not in GENERATED)]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_example_of_a_page_does_what_it_says(
    page: Path, rollouts: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts()
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        kind, text = found.groups()
        if kind == "console":
            run_commands(text)
        elif kind == "pycon":
            run_examples(text, names, page.name)
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, page.name, "exec"), names)  # the page's own code
            for measure in [made for made in names.values() if isinstance(made, Measure)]:
                run_examples(measure.__doc__ or "", names, measure.name)


def run_commands(text: str) -> None:
    """Each line that begins with `$` is a command; the lines after it are what it prints."""
    text = text.replace("\\\n", " ")
    for said in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, printed = said.partition("\n")
        name, *arguments = shlex.split(line)
        assert name == "cotdrift", f"only cotdrift can be run here, not {line!r}"
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        if printed.strip():
            assert doctest.OutputChecker().check_output(printed, done.stdout, SAME), f"$ {line}\n{done.stdout}"


def run_examples(text: str, names: dict[str, object], where: str) -> None:
    wrong: list[str] = []
    examples = doctest.DocTestParser().get_doctest(text, names, where, None, None)
    doctest.DocTestRunner(verbose=False, optionflags=SAME).run(examples, out=wrong.append, clear_globs=False)
    names.update(examples.globs)
    assert not wrong, "".join(wrong)


def test_the_generated_pages_are_the_present_ones() -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [name for name, text in generate.pages().items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs` to write them anew"


def test_every_format_is_on_its_page() -> None:
    page = (DOCS / "formats.md").read_text(encoding="utf-8").replace("\\|", "|")
    assert [name for name, kind in collect("formats", Format).items() if f"| `{name}` | {kind.looks_for} |" not in page] == []


def test_every_command_and_option_says_what_it_is_for() -> None:
    for name, command in cli.commands.items():
        assert command.help, f"cotdrift {name} says nothing of itself"
        silent = [option.name for option in command.params if isinstance(option, click.Option) and not option.help]
        assert silent == [], f"cotdrift {name}: {silent} have no help"
