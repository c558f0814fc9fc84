"""The report: one HTML file that says how a run's reasoning drifted, and opens anywhere without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from msgspec import Struct

from cotdrift.figures import continuations as went_on
from cotdrift.figures import decipher as read
from cotdrift.figures import gaming as gamed
from cotdrift.figures import motive as moved
from cotdrift.figures import sense as sensed
from cotdrift.figures.environments import by_environment, environment_rows
from cotdrift.figures.look import RUNS
from cotdrift.figures.trends import small_multiples, trend_rows
from cotdrift.figures.volcano import volcano
from cotdrift.find import find
from cotdrift.findings import Findings
from cotdrift.format import Reading
from cotdrift.ingest import Ingested
from cotdrift.page import ambiguity as ambiguity_shown
from cotdrift.page import arms as arms_shown
from cotdrift.page import axes as axes_shown
from cotdrift.page import decipher as decipher_shown
from cotdrift.page import gaming as gaming_shown
from cotdrift.page import graded as graded_shown
from cotdrift.page import importance as importance_shown
from cotdrift.page import interventions as interventions_shown
from cotdrift.page import motive as motive_shown
from cotdrift.page import prefixes as prefixes_shown
from cotdrift.page import rubrics as rubrics_shown
from cotdrift.page import sampling as sampling_shown
from cotdrift.page import sense as sense_shown
from cotdrift.page import shown
from cotdrift.page.carried import LONGEST_LINE, chosen_terms, columns, script_json, visible, whole_traces
from cotdrift.sentences import REFERENCES, clear_changes, named, of_serving
from cotdrift.study import Study

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.arms import Tried
    from cotdrift.gaming import Gaming

SCRIPTS = ("data", "figures", "terms", "passages", "start")
MOST_ENVIRONMENT_PANELS = 6
DRAWN = {
    "gaming": gamed.over_steps,
    "gaming_ladder": gamed.ladder,
    "gaming_audit": gamed.audit,
    "gaming_factors": gamed.forest,
    "gaming_length": gamed.length,
    "prefix_steps": went_on.over_steps,
    "prefix_margins": went_on.by_margin,
    "prefix_each": went_on.by_prefix,
}
SAID = re.compile(r"([−+×]?\d[\d,.]*%?(?: times as often| times| percentage points| points| less often)?)( \[[−+∞\d,. ]{1,60}\])")


class Reported(Struct, frozen=True, kw_only=True):
    """A report that was written."""

    page: Path
    study: Study
    findings: Findings
    ingested: tuple[Ingested, ...] = ()
    """What became of each file; empty when the report is of a study that was there."""


def report(
    *sources: Path | str,
    into: Path | str | None = None,
    output: Path | str | None = None,
    watch: Path | None = None,
    reading: Reading | None = None,
    actions: Sequence[str] = (),
    truths: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Reported:
    """Write the report of a study, or of files in one go: ingest, measure, compare, write.

    Files go into the study `into`, `cotdrift-study` in the working folder if none is named. The page is `report.html` in the study unless
    `output` says where. `watch` is a watch-list of your own. Where there are judgments, `actions` names the outcomes that mean
    misbehaviour, and `truths` has, for a grader, the outcome that is its truth.
    """
    if len(sources) == 1 and Study.is_one(sources[0]):
        study, ingested = Study.open(sources[0]), []
    else:
        study = Study.make(into or "cotdrift-study")
        ingested = study.ingest(sources, reading)
    findings = find(study, watch=watch, actions=actions, truths=truths, seed=seed)
    page = write_report(findings, output or study.folder / "report.html")
    return Reported(page=page, study=study, findings=findings, ingested=tuple(ingested))


def write_report(findings: Findings, path: Path | str) -> Path:
    """Write the page. A page that is there already is replaced only when the new one is whole."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(page(findings).encode("utf-8", "backslashreplace"))  # half a surrogate pair is no text; it is written out
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def write_figures(findings: Findings, folder: Path | str) -> list[Path]:
    """Write every figure as an SVG file, for papers."""
    import vl_convert  # a browser's engine: slow to load, and only needed here

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in _figures(findings, _rows(findings)).items():
        path = target / f"{name.replace('_', '-')}.svg"
        path.write_text(vl_convert.vegalite_to_svg(figure.to_dict()), encoding="utf-8")
        written.append(path)
    return written


def page(findings: Findings) -> str:
    """The whole page as text."""
    rows = _rows(findings)
    figures = {name: _without_data(chart) for name, chart in _figures(findings, rows).items()}
    _, left_out = chosen_terms(findings.terms)
    hits = {line.transcript_id: line.hit for sense in findings.senses for line in sense.quoted}
    hits |= {line.transcript_id: line.hit for uses in findings.passages for line in [*uses.early, *uses.late]}
    traces = whole_traces(findings.traces, graded_shown.hits(findings.judged, findings.traces) | hits)
    style, app = _asset("style.css"), "(() => {\n'use strict';\n" + "".join(_asset(f"{name}.js") for name in SCRIPTS) + "})();\n"
    scripts = [_drawing_library(), app]
    clear = clear_changes(findings.trends)
    surface_panels = shown.panels(shown.by_strength(findings.trends, clear), {}, clear)
    term_panels = shown.panels(findings.term_trends, *shown.told_of_terms(findings))
    text: str = _template().render(
        findings=findings,
        policy=_policy(scripts, style),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        carried=script_json({"figures": figures, "data": {name: columns(listed) for name, listed in rows.items()}, "traces": traces}),
        facts=shown.facts(findings),
        runs=shown.runs(findings),
        changes=shown.changes_by_run(findings),
        surface=surface_panels,
        term_panels=term_panels,
        shared_warnings={"surface": shown.shared_warnings(surface_panels), "terms_over_steps": shown.shared_warnings(term_panels)},
        environment_panels=list(dict.fromkeys(row["measure"] for row in rows["environments"])),
        environment_units={row["measure"]: row["unit"] for row in rows["environments"]},
        references={against: REFERENCES.get(against, against) for against in findings.terms},
        left_out=left_out,
        set_aside=sum(sampled.set_aside for sampled in findings.sampled),
        exclusions=shown.exclusions(findings),
        carried_traces=traces,
        server=of_serving(findings.serving) if findings.serving else (),
        gaming=gaming_shown.section(findings, rows),
        ambiguity=ambiguity_shown.section(findings),
        motive=motive_shown.section(findings),
        decipher=decipher_shown.section(findings),
        prefixes=prefixes_shown.section(findings, rows),
        importance=importance_shown.section(findings),
        sense=sense_shown.section(findings),
        tried=[_experiment(findings, one, rows) for one in findings.tried],
        judged=graded_shown.section(findings),
        axes=axes_shown.section(findings, rows),
        figures=figures,
        longest=LONGEST_LINE,
    )
    return text


def _rows(findings: Findings) -> dict[str, list[dict[str, Any]]]:
    """What the figures are drawn from, and what their downloads hold."""
    clear = clear_changes(findings.trends)
    surface = shown.by_strength(findings.trends, clear)
    within = {trend.measure for trends in findings.environments.values() for trend in trends}
    foremost = list(dict.fromkeys(trend.measure for trend in surface if trend.measure in within))[:MOST_ENVIRONMENT_PANELS]
    return {
        "surface": trend_rows(surface),
        "terms_over_steps": trend_rows(findings.term_trends),
        "terms": chosen_terms(findings.terms)[0],
        "environments": environment_rows([trend for trend in surface if trend.measure in foremost], findings.environments),
        **(_gaming_rows(findings.gaming) if findings.gaming else {}),
        **(ambiguity_shown.rows(findings.ambiguity) if findings.ambiguity else {}),
        **(moved.rows_of(findings.motive) if findings.motive else {}),
        **(read.rows_of(findings.deciphered) if findings.deciphered else {}),
        **(_prefix_rows(findings) if findings.continued else {}),
        **(importance_shown.rows(findings.importance) if findings.importance else {}),
        **({"sense": sensed.rows_of(findings.senses)} if findings.senses else {}),
        **({"referents": trend_rows(shown.by_measure(findings.referents))} if findings.referents else {}),
        **arms_shown.rows(findings.tried),
        **sampling_shown.rows(findings),
        **rubrics_shown.rows(findings),
        **(graded_shown.rows(findings.judged) if findings.judged else {}),
        **axes_shown.rows(findings),
    }


def _experiment(findings: Findings, one: Tried, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    name = one.declared.name
    apart = {"settings": sampling_shown.section(findings, name, rows), "rubrics": rubrics_shown.section(findings, name, rows)}
    return arms_shown.section(one, rows) | apart | {"edits": interventions_shown.section(findings, name)}


def _prefix_rows(findings: Findings) -> dict[str, list[dict[str, Any]]]:
    found = findings.continued
    rows = {"prefix_steps": went_on.step_rows, "prefix_margins": went_on.margin_rows, "prefix_each": went_on.prefix_rows}
    return {name: made(found) for name, made in rows.items()}


def _gaming_rows(gaming: Gaming) -> dict[str, list[dict[str, Any]]]:
    return {
        "gaming": gamed.gaming_rows(gaming),
        "gaming_ladder": gamed.ladder_rows(gaming),
        "gaming_audit": gamed.audit_rows(gaming),
        "gaming_factors": gamed.effect_rows(gaming),
        "gaming_length": gamed.length_rows(gaming),
        "gaming_probes": trend_rows(shown.by_measure([*gaming.trends, *gaming.probes])) if gaming.probes else [],
    }


def _figures(findings: Findings, rows: dict[str, list[dict[str, Any]]]) -> dict[str, alt.TopLevelMixin]:
    drawn: dict[str, alt.TopLevelMixin] = {}
    if rows["surface"]:
        drawn["surface"] = small_multiples(rows["surface"])
        drawn["surface_change"] = small_multiples(rows["surface"], show="change")
    if rows["terms_over_steps"]:
        drawn["terms_over_steps"] = small_multiples(rows["terms_over_steps"], zero=True)
    if rows["environments"]:
        drawn["environments"] = by_environment(rows["environments"])
    if rows["terms"]:
        first = rows["terms"][0]
        last = max(row["step"] for row in rows["terms"] if row["run"] == first["run"])
        foremost = [row for row in rows["terms"] if (row["against"], row["run"], row["step"]) == (first["against"], first["run"], last)]
        drawn["volcano"] = volcano(foremost)
    runs = shown.runs(findings)
    every = DRAWN | ambiguity_shown.FIGURES | moved.FIGURES | importance_shown.FIGURES | sense_shown.FIGURES | read.FIGURES
    every |= graded_shown.FIGURES | axes_shown.FIGURES
    for name, draw in every.items():
        if rows.get(name):
            drawn[name] = draw(rows[name], runs)
    drawn |= axes_shown.figures(rows)
    drawn |= arms_shown.figures(findings.tried, rows)
    drawn |= sampling_shown.figures(findings, rows) | rubrics_shown.figures(findings, rows)
    drawn |= {name: small_multiples(rows[name], zero=True) for name in ("gaming_probes", "referents") if rows.get(name)}
    return drawn


def _without_data(chart: alt.TopLevelMixin) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    for key in ("data", "datasets"):
        spec.pop(key, None)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)
    shown: dict[str, Any] = _visible_throughout(spec)  # names in it stand for those in the rows, which are made visible too
    return shown


def _visible_throughout(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _visible_throughout(inner) for name, inner in part.items()}
    if isinstance(part, list):
        return [_visible_throughout(inner) for inner in part]
    return visible(part) if isinstance(part, str) else part


def _told(sentence: str) -> Markup:
    """A sentence with its numbers set strong and their intervals quiet."""
    return Markup(SAID.sub(r'<strong>\1</strong><span class="interval">\2</span>', str(escape(visible(sentence)))))


def _compact_json(value: Any) -> str:
    """As a browser's own `JSON.stringify` writes it, so that the two can be compared."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _in_line(text: str) -> str:
    return visible(re.sub(r"\s+", " ", text))


def _policy(scripts: Sequence[str], style: str) -> str:
    """Only the scripts and the style written here run: whatever slipped through the escaping would not."""
    allowed = " ".join(_fingerprint(script) for script in scripts)
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{nothing}; script-src {allowed}; style-src {_fingerprint(style)}; img-src data: blob:"


def _fingerprint(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("cotdrift.page").joinpath(name).read_text(encoding="utf-8")


@cache
def _drawing_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that keeps its names to itself."""
    import vl_convert  # a browser's engine: slow to load, and only needed here

    return "{" + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", r"<\/script").replace("\r", "") + "}\n"


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("cotdrift", "page"),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # before the escaping; markup is done with
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "in_line": _in_line, "told": _told, "named": named, "compact_json": _compact_json}
    environment.globals |= {"run_places": len(RUNS)}
    return environment.get_template("report.html.jinja")
