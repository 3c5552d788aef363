"""The README works as pasted, names nothing that is not there, and is short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.core.builtin import BUILTIN, FRAMEWORKS
from fusion_nb.models import lookup

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
#: Row of the capability table -> the kind of component that it lists.
ROWS = {
    "Data": "datasets",
    "Tables": "tabular",
    "Metrics": "metrics",
    "Rates": "lr_schedules",
    "Cohorts": "samplings",
    "Splits": "splits",
    "Fusions": "fusions",
    "A model for each party": "personal",
    "Ensembles": "ensembles",
    "Faults": "adversaries",
    "Engines": "engines",
}


def row(title: str) -> set[str]:
    """The words that a row of the capability table has in backticks."""
    (line,) = re.findall(rf"^\| \*\*{title}\*\* \|(.*)$", TEXT, re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", line))


def test_it_is_at_most_nine_kilobytes() -> None:
    assert len(TEXT.encode()) <= 9_000


def test_every_python_block_runs_in_order(ip: Any) -> None:
    assert len(BLOCKS) >= 4
    for block in BLOCKS:
        seen = ip.run(block)
        assert seen.error is None, f"{block}\n{seen.text}"
    assert len(ip.ns["run"].history) == 15
    assert Path("fused/model.pt").is_file()
    assert ip.run("%fusion run --fusion my_median --rounds 1").error is None


def test_every_attribute_of_a_run_that_it_names_exists(ip: Any) -> None:
    for block in BLOCKS[:2]:
        ip.run(block)
    named = set(re.findall(r"\b(run(?:\.\w+)+)", TEXT)) - {"run.yaml"}
    assert {"run.model", "run.best.model", "run.spec.to_yaml"} <= named
    for expression in sorted(named):
        seen = ip.run(f"_ = {expression}")
        assert seen.error is None, expression


def test_every_command_and_option_that_it_names_exists() -> None:
    from fusion_nb.notebook import options

    named = set(re.findall(r"`(--[a-z][a-z-]*)", TEXT))
    assert len(named) > 8
    assert named <= set(options.names())
    commands = re.findall(r"`%fusion ([a-z]+)", TEXT)
    assert len(commands) > 5
    assert all(command in options.COMMANDS for command in commands)


@pytest.mark.parametrize(("title", "kind"), ROWS.items())
def test_every_component_is_in_the_table(title: str, kind: str) -> None:
    assert {*BUILTIN[kind]} <= row(title), "a new component belongs in the README's table"


def test_every_format_of_the_table_exists() -> None:
    formats = {name for kind in FRAMEWORKS for name in lookup.adapter(kind).formats}
    assert row("Export") == formats


def test_every_make_target_that_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"`?\bmake ([a-z]+(?:-[a-z]+)*)`", (ROOT / name).read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name}: make {target}"


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/papers/README.md"],
)
def test_links_and_pictures_are_there(name: str) -> None:
    page = ROOT / name
    for target, heading in re.findall(
        r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")
    ):
        other = page.parent / target if target else page
        assert other.exists(), target
        assert not heading or heading in headings(other), f"{target}#{heading}"


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
