"""Runs that a cell follows: `%fusion status --follow`, and cells in Google Colab."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from cells import fuse

from fusion_nb.notebook import following, kernel
from fusion_nb.runs.session import RUNS


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """All that is displayed, each update of it too."""
    bundles: list[dict[str, Any]] = []

    class Handle:
        def update(self, bundle: dict[str, Any], raw: bool) -> None:
            bundles.append(bundle)

    def display(bundle: dict[str, Any], **kwargs: Any) -> Handle:
        bundles.append(bundle)
        return Handle()

    monkeypatch.setattr(following, "display", display)
    return bundles


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of Google Colab, whose front end draws widgets."""
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setattr("fusion_nb.notebook.commands.draws_widgets", lambda: True)
    monkeypatch.setattr(following, "draws_widgets", lambda: True)


class TestFollow:
    def test_a_background_run_is_followed_to_its_end(
        self, ip: Any, shown: list[dict[str, Any]]
    ) -> None:
        fuse(ip, "--rounds 8 --background --quiet --name run")
        assert ip.run("%fusion status --follow").error is None
        assert ip.ns["run"].status == "finished"
        assert shown[-1]["text/plain"].startswith("run: finished, 8 of 8 rounds")
        assert {"text/html", "image/png", "text/plain"} == set(shown[-1])

    def test_a_run_that_has_ended_is_shown_once(self, ip: Any, shown: list[Any]) -> None:
        fuse(ip, "--rounds 1 --quiet --name run")
        assert ip.run("%fusion status run --follow").error is None
        assert [bundle["text/plain"][:13] for bundle in shown] == ["run: finished"]

    def test_an_interrupt_ends_the_following_and_not_the_run(
        self, ip: Any, shown: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(seconds: float) -> None:
            raise KeyboardInterrupt

        fuse(ip, "--rounds 1000000 --background --quiet --name run")
        monkeypatch.setattr(following.time, "sleep", interrupt)
        seen = ip.run("%fusion status --follow")
        monkeypatch.undo()
        assert seen.error is None
        assert "run goes on: %fusion stop run ends it" in seen.text
        assert RUNS["run"].status == "running"
        RUNS["run"].stop()

    def test_without_the_option_it_is_a_line(self, ip: Any, shown: list[Any]) -> None:
        fuse(ip, "--rounds 1 --quiet --name run")
        assert "run: finished, round 1 of 1" in ip.run("%fusion status run").text
        assert shown == []

    @pytest.mark.parametrize("command", ["stop", "pause", "runs", "compare"])
    def test_other_commands_do_not_follow(self, ip: Any, command: str) -> None:
        assert ip.run(f"%fusion {command} --follow").error is not None


@pytest.mark.usefixtures("colab")
class TestColab:
    def test_it_is_recognised(self) -> None:
        assert kernel.repaints_only_for_cells()

    def test_the_waiting_cell_shows_text_and_no_widget(
        self, ip: Any, shown: list[dict[str, Any]]
    ) -> None:
        assert fuse(ip, "--rounds 3 --name run").error is None
        assert not any("application/vnd.jupyter.widget-view+json" in each for each in shown)
        assert 'role="status"' in shown[0]["text/html"]
        assert shown[-1]["text/plain"].startswith("run: finished, 3 of 3 rounds")

    def test_a_background_run_says_how_to_follow_it(self, ip: Any, shown: list[Any]) -> None:
        seen = fuse(ip, "--rounds 1000000 --background --name run")
        assert "run is running: %fusion status run --follow shows it" in seen.text
        assert shown == []
        RUNS["run"].stop()

    def test_a_failed_run_shows_why(self, ip: Any, shown: list[dict[str, Any]]) -> None:
        body = "from torch import nn\nmodel = nn.Linear(784, 10)\n"
        seen = fuse(ip, "--rounds 3 --lr 1e30 --name run", body)
        assert seen.error is not None
        assert all("finished" not in bundle["text/plain"] for bundle in shown)


def test_elsewhere_it_is_not_colab() -> None:
    assert not kernel.repaints_only_for_cells()
