"""Stored results of published figures: when they hold, and the tables made from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.papers import code, results, tables
from benchmarks.papers.__main__ import chosen, main
from benchmarks.papers.cases import CASES, seeds
from benchmarks.papers.common import Figure, Row, Setup
from benchmarks.papers.results import Results, to_run

CASE = "fda.naive3"
ROW = Row("FDA", "29", (Figure(30.0),), "19 to 39", True, 12.34)


@pytest.fixture
def stored(tmp_path: Path) -> Results:
    """Return results of all seeds of one case, of the present code."""
    found = Results(tmp_path)
    for seed in seeds(CASE):
        found.add(CASE, seed, ROW, [{"loss": 1.0}], code.digest(CASE))
    return found


def of_other_code(stored: Results) -> None:
    stored.keep(CASE, "of before")


def test_results_of_the_same_code_are_not_run_again(stored: Results) -> None:
    assert to_run(stored, [CASE]) == []


def test_a_seed_that_is_missing_is_run(tmp_path: Path) -> None:
    found = Results(tmp_path)
    found.add(CASE, 1, ROW, [], code.digest(CASE))
    assert to_run(found, [CASE]) == [(CASE, 0), (CASE, 2), (CASE, 3), (CASE, 4)]


def test_all_are_run_again_if_asked_for(stored: Results) -> None:
    assert len(to_run(stored, [CASE], again=True)) == 5


@pytest.mark.parametrize(("loss", "count"), [(1.0, 0), (1.001, 5)])
def test_after_a_change_the_small_version_decides(
    loss: float, count: int, stored: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_other_code(stored)
    monkeypatch.setattr(results, "probed", lambda case: [{"loss": loss}])
    assert len(to_run(stored, [CASE])) == count


def test_results_of_other_code_are_dropped_by_a_new_one(stored: Results) -> None:
    of_other_code(stored)
    stored.add(CASE, 0, ROW, [], code.digest(CASE))
    assert list(stored.of(CASE)["seeds"]) == ["0"]


def test_a_result_tells_versions_machine_and_seconds(stored: Results) -> None:
    found = stored.of(CASE)["seeds"]["3"]
    assert {"python", "fusion_nb", "numpy", "torch"} <= set(found["versions"])
    assert (found["seconds"], found["figures"], found["ok"]) == (12.3, [30.0], True)
    assert "cores" in found["machine"]


def test_quick_cases_come_first(tmp_path: Path) -> None:
    found = Results(tmp_path)
    for case, seconds in (("fda.every", 90.0), ("fedbuff.ratio", 10.0)):
        found.add(case, 0, Row("", "", (), "", None, seconds), [], code.digest(case))
    assert to_run(found, ["fda.every", "fedbuff.ratio"])[0] == ("fedbuff.ratio", 1)


def test_the_digest_knows_code_and_not_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "benchmarks" / "papers"
    scripts.mkdir(parents=True)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    monkeypatch.setattr(code, "package_trees", lambda: ())
    found = []
    for text in ("x = 1", '"""About it."""\nx = 1  # one', "x = 2"):
        (scripts / "mine.py").write_text(text, encoding="utf-8")
        code.tree_of.cache_clear()
        found.append(code.digest("mine.case"))
    assert found[0] == found[1] != found[2]


def test_the_digest_follows_scripts_that_are_imported() -> None:
    assert [path.stem for path in code.scripts_of("fedbuff")] == ["common", "fedbuff", "mcmahan"]


def test_a_row_of_the_table(stored: Results) -> None:
    stored.add(CASE, 4, Row("FDA", "29", (Figure(None),), "19 to 39", False), [], code.digest(CASE))
    (line,) = (x for x in tables.table(stored, "papers").splitlines() if f"`{CASE}`" in x)
    assert line == (
        "| FDA (`fda.naive3`) | 29 | 30, of 4 of 5 seeds | 5, 1 not accepted | 19 to 39 |"
    )


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    page = tables.README.read_text(encoding="utf-8")
    for which in ("papers", "estimators"):
        assert tables.table(Results(), which) in page, "run python -m benchmarks.papers --table"


def test_every_stored_result_belongs_to_a_case() -> None:
    for path in results.FOLDER.glob("*.json"):
        assert path.stem in CASES
        found = json.loads(path.read_text(encoding="utf-8"))
        assert set(found["seeds"]) <= {str(seed) for seed in seeds(path.stem)}


def test_cases_are_chosen_by_name_and_by_script() -> None:
    assert chosen(["fedbuff", "fda.every"]) == ["fda.every", "fedbuff.ratio"]
    with pytest.raises(SystemExit, match="no case is called feedbuff"):
        chosen(["feedbuff"])


def test_the_list_runs_nothing(stored: Results, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", CASE], stored) == 0
    assert capsys.readouterr().out == "nothing to run\n"


def test_a_case_gives_the_probe_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "mnist", lambda quick: Setup(*[((), ())] * 2, quick=quick))
    monkeypatch.setitem(CASES, CASE, lambda setup: ROW)
    results.print_probe(CASE)
    assert json.loads(capsys.readouterr().out) == [{"0": 30.0}]


@pytest.mark.slow
@pytest.mark.usefixtures("mnist")
def test_a_probe_runs_in_a_process_of_its_own() -> None:
    assert results.probed("private.accountants")[0]["0"] == 2.38169
