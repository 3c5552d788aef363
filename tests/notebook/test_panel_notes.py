"""The notes of a run in a panel: few in sight, warnings always, all others behind a disclosure."""

from __future__ import annotations

import pytest
from panels import page, run_to_the_end

from fusion_nb import Panel
from fusion_nb.notebook.panel.notes import notes_html

pytestmark = pytest.mark.usefixtures("no_runs")


def folded(html: str) -> str:
    return html.partition("<details>")[2]


@pytest.mark.parametrize("count", [1, 4, 5])
def test_few_notes_are_all_in_sight(count: int) -> None:
    html = notes_html(tuple(f"note {number}" for number in range(count)))
    assert html.count("note ") == count
    assert "<details>" not in html


@pytest.mark.parametrize("count", [6, 9])
def test_of_many_notes_the_first_are_in_sight(count: int) -> None:
    html = notes_html(tuple(f"loss: {number}" for number in range(count)))
    assert html.count("loss: ") == count, "none is lost"
    assert folded(html).count("loss: ") == count - 4
    assert f"<summary>{count - 4} more notes, on loss</summary>" in html


def test_a_warning_is_never_folded() -> None:
    html = notes_html((*(f"loss: {number}" for number in range(8)), "warning: it is no better"))
    assert "warning" in html
    assert "warning" not in folded(html)


def test_notes_are_no_markup() -> None:
    assert "<script>" not in notes_html(("classes: <script>",))
    assert notes_html(()) == ""


def test_a_private_run_says_what_it_costs_below_its_status(panel: Panel) -> None:
    panel.set(privacy="central:clip=1,noise=1", devices="same", step_seconds=0.001)
    run_to_the_end(panel)
    assert "finished, round 3 of 3" in panel.screen.status
    assert "epsilon" in panel.screen.status
    assert "<summary>" not in panel.screen.status, "a disclosure there would close with each round"
    assert "privacy: epsilon" in page(panel)
    assert "more notes, on energy, privacy</summary>" in page(panel)
