"""`make quick` imports no file of which it runs nothing, and misses none that it should run."""

from __future__ import annotations

from pathlib import Path

import pytest
from markers import browser_group, markers_of, pytest_ignore_collect

ONE_SLOW = "import pytest\n\n@pytest.mark.slow\ndef test_one(): pass\n"
QUICK = "not slow and not integration and not framework and not sweep"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("test_a.py", ONE_SLOW, set()),
        ("test_a.py", "import pytest\npytestmark = pytest.mark.slow\n", {"slow"}),
        (
            "test_a.py",
            "import pytest\npytestmark = [\n    pytest.mark.slow,\n    pytest.mark.pictures,\n]\n",
            {"slow", "pictures"},
        ),
        ("keras_adapter/test_a.py", ONE_SLOW, {"framework"}),
        ("test_every_thing.py", ONE_SLOW, {"sweep"}),
        ("test_browser_of_things.py", ONE_SLOW, {"integration"}),
    ],
)
def test_the_markers_of_a_whole_file(
    name: str, text: str, expected: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "root" / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    found = markers_of(path, tmp_path / "root")
    assert found & {"slow", "pictures", "framework", "sweep", "integration"} == expected


@pytest.mark.parametrize(
    ("chosen", "ignored"),
    [
        (QUICK, True),
        ("not slow", True),
        ("", False),
        ("slow", False),
        ("not integration", False),
        ("not slow or integration", False),
    ],
)
def test_a_file_is_ignored_only_where_all_its_tests_are_left_out(
    chosen: str, ignored: bool, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    path = tmp_path / "test_a.py"
    path.write_text("import pytest\npytestmark = pytest.mark.slow\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytestconfig.option, "markexpr", chosen)
        assert bool(pytest_ignore_collect(path, pytestconfig)) is ignored


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("test_browser_panel.py", "browser 1"),
        ("test_browser.py", "browser 2"),
        ("test_browser_saved_runs.py", "browser 3"),
        ("test_panel_runs.py", ""),
    ],
)
def test_files_that_drive_a_browser_are_shared_in_groups(name: str, group: str) -> None:
    assert browser_group(f"tests/notebook/{name}") == group
