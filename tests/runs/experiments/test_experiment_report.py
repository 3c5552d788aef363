"""Reports: a page and a notebook that open alone, tables, and what is refused."""

from __future__ import annotations

import csv
import html.parser
import json
from pathlib import Path
from typing import Any

import pytest

import fusion_nb
from fusion_nb.errors import ExportError, RunError


class Page(html.parser.HTMLParser):
    """The tags of a page, and the addresses that it loads something from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "action")]


@pytest.fixture
def made(short_sweep: Any) -> Any:
    return short_sweep(fusion="fedavg,krum,median", lr=[0.05, 0.1], seeds="0-1", name="a_b")


def test_a_report_has_all_its_files(made: Any, tmp_path: Path) -> None:
    files = {path.name for path in made.report(tmp_path / "report")}
    assert files == {
        *("report.html", "report.ipynb", "experiment.yaml", "card.json", "runs.csv"),
        *("table.md", "table.tex", "table.csv"),
    }
    text = (tmp_path / "report/runs.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(made.runs)


def test_the_page_loads_nothing_and_tells_all(made: Any, tmp_path: Path) -> None:
    made.report(tmp_path / "report")
    text = (tmp_path / "report/report.html").read_text()
    page = Page(text)
    assert all(source.startswith("data:") for source in page.sources)
    assert "script" not in page.tags
    assert page.tags.count("img") == 5
    for told in ("median, lr 0.1", "needs 5 parties", "prefers-color-scheme", "fusion_nb.sweep("):
        assert told in text
    for told in ("torch", "numpy", "python", "cores", "sha256"):
        assert told in text


def test_the_notebook_is_valid_and_repeats_the_experiment(made: Any, tmp_path: Path) -> None:
    import nbformat

    made.report(tmp_path / "report")
    notebook = nbformat.read(tmp_path / "report/report.ipynb", 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source == "%load_ext fusion_nb"
    assert len(code[1].outputs) == 5
    assert "seeds=[0, 1]" in code[1].source


def test_the_python_of_a_report_repeats_it(
    made: Any, build: Any, rows: Any, tmp_path: Path
) -> None:
    names = {"given_model": build, "given_data": rows}
    exec(made.spec.to_text(), names)
    again: Any = names["experiment"]
    assert [t.history["loss"] for t in again.runs if t.records] == [
        t.history["loss"] for t in made.runs if t.records
    ]


def test_a_report_is_compared_as_the_experiment(made: Any, tmp_path: Path) -> None:
    made.report(tmp_path / "report")
    found = fusion_nb.compare({"r": tmp_path / "report", "e": made})
    for label in ("fedavg, lr 0.1", "median, lr 0.05"):
        assert found.finals[f"r: {label}"] == found.finals[f"e: {label}"]


def test_names_can_not_become_tags(short_sweep: Any, tmp_path: Path) -> None:
    made = short_sweep(seeds="0-1", name="<script>alert(1)</script>|x")
    made.report(tmp_path / "report")
    assert "<script>" not in (tmp_path / "report/report.html").read_text()
    notebook = json.loads((tmp_path / "report/report.ipynb").read_text())
    assert "<script>" not in "".join(notebook["cells"][0]["source"])


def test_a_report_is_replaced_only_on_demand(made: Any, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    made.report(folder)
    with pytest.raises(ExportError, match="already exists"):
        made.report(folder)
    made.report(folder, overwrite=True)
    (folder / "mine.txt").write_text("x")
    with pytest.raises(ExportError, match=r"mine\.txt"):
        made.report(folder, overwrite=True)


def test_other_folders_are_refused(made: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/a.tex").write_text("x")
    for path in (tmp_path / "thesis", tmp_path / "a.pt", tmp_path / "what?"):
        with pytest.raises(ExportError):
            made.report(path, overwrite=True)


def test_an_experiment_without_a_round_has_no_report(build: Any, rows: Any, tmp_path: Path) -> None:
    from fusion_nb import Experiment
    from fusion_nb.runs.experiments.spec import ExperimentSpec

    spec = ExperimentSpec.of({"model": "m", "data": "d", "parties": 2})
    with pytest.raises(RunError, match="has a whole round yet"):
        Experiment(spec, {"m": build, "d": rows}).report(tmp_path / "report")
