"""The card of an export, as text that no name can break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting import card
from fusion_nb.reporting.parties import Parties, PartyReport
from fusion_nb.reporting.result import Result


def result_of(party: str, **fields: Any) -> Result:
    record = RoundRecord(1, {"loss": 0.5, "accuracy": 0.75}, {}, (party,), 0.1, 400, 400)
    given: dict[str, Any] = {
        "name": "trial",
        "spec": {"seed": 0, "until": "loss < 0.2", "code": "x = 1"},
        "chosen": {"fusion": "fedavg", "lr": 0.1},
        "cell": "%fusion run --seed 0",
        "status": "finished",
        "reason": "",
        "planned": 1,
        "monitor": "accuracy",
        "metrics": ("loss", "accuracy"),
        "best_round": 1,
        "history": History([record]),
        "parties": Parties([PartyReport(party, 10, 5, {}, fused={"accuracy": 0.75})]),
        "notes": ["loss: cross_entropy"],
        "initial_sha256": "0" * 64,
    }
    return Result(**given | fields)


def text_of(result: Result) -> str:
    made = card.as_dict(result, {}, 1, files={}, packages=())
    return card.as_markdown(made, result)


def test_a_card_is_written_line_by_line() -> None:
    lines = text_of(result_of("party 1")).splitlines()
    assert lines[0] == "# trial: a model fused by fedavg over 1 parties"
    start = lines.index("## To repeat it")
    assert lines[start : start + 13] == [
        "## To repeat it",
        "```",
        "%fusion run --seed 0",
        "```",
        "- loss: cross_entropy",
        "",
        "## Options",
        "| option | value |",
        "|---|---|",
        "| seed | 0 |",
        "| until | loss < 0.2 |",
        "| fusion | fedavg |",
        "| lr | 0.1 |",
    ]
    assert "| 1 | 0.5000 | 0.7500 |" in lines
    assert "| party 1 | 10 | 5 | – | 0.750 |" in lines
    assert "x = 1" not in "".join(lines)


def test_names_of_given_objects_are_explained() -> None:
    text = text_of(result_of("p", spec={"model": "given_model", "data": "digits"}))
    assert "put yours in place of `given_model`, as in `fusion_nb.federate(model=...)`" in text
    assert "Python" not in text_of(result_of("p")).partition("## Options")[0]


@pytest.mark.parametrize(
    ("party", "written"),
    [
        ("a|b", "a\\|b"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_name_can_neither_end_a_cell_nor_begin_a_tag(party: str, written: str) -> None:
    (row,) = [line for line in text_of(result_of(party)).splitlines() if " | 10 | 5 | " in line]
    assert row.startswith(f"| {written} | 10 |")


def test_a_note_is_escaped_and_the_cell_is_not() -> None:
    text = text_of(result_of("p", notes=["a <b> note"], cell="%fusion run --data 'a|b'"))
    assert "- a &lt;b> note" in text
    assert "--data 'a|b'" in text


def test_the_cell_can_not_end_its_block() -> None:
    assert "```\n%fusion '''\n```" in text_of(result_of("p", cell="%fusion ```"))


def test_the_html_of_a_result_escapes_names_and_notes() -> None:
    result = result_of("<b>", notes=["<i>note</i>"], traceback="Error: <x>")
    page = result.mimebundle()["text/html"]
    for text in ("<i>note", "<x>", "<b></th>"):
        assert text not in page
    for text in ("&lt;i&gt;note", "&lt;x&gt;", "&lt;b&gt;</th>", "<summary>traceback</summary>"):
        assert text in page


def test_a_result_without_a_round_has_no_picture() -> None:
    bundle = result_of("p", history=History(), best_round=0).mimebundle()
    assert set(bundle) == {"text/html", "text/plain"}
    assert "<img" not in bundle["text/html"]


def test_no_temporary_name_is_left(tmp_path: Path, trained: Any, net: Any) -> None:
    trained(net(), rounds=1).export(str(tmp_path / "fused"))
    assert [path.name for path in tmp_path.iterdir()] == ["fused"]
