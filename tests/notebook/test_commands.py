"""`%fusion` commands: status, runs, compare, export, list and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cells import fuse

from fusion_nb import RunSpec
from fusion_nb.notebook import commands, options


class TestCommands:
    @pytest.fixture(autouse=True)
    def _one_run(self, ip: Any) -> None:
        fuse(ip, "--rounds 2 --name first")

    def test_status_runs_more_pause_resume_and_stop(self, ip: Any) -> None:
        assert "first: finished, round 2 of 2" in ip.run("%fusion status").text
        assert ip.run("%fusion more first --rounds 2").error is None
        assert len(ip.ns["first"].history) == 4
        fuse(ip, "--rounds 100000 --background --name long")
        assert "long: paused" in ip.run("%fusion pause").text
        assert "long: running" in ip.run("%fusion resume long").text
        assert "long: stopped" in ip.run("%fusion stop").text
        listed = ip.run("%fusion runs").text
        assert "first: finished" in listed
        assert "long: stopped" in listed

    @pytest.mark.pictures
    def test_compare_and_split_are_pictures_with_words(self, ip: Any) -> None:
        fuse(ip, "--rounds 2 --seed 5 --name second")
        chart = ip.run("%fusion compare first second").result
        assert chart.alt.startswith("first: Loss from")
        assert "second: Loss from" in chart.alt
        assert chart.png != ip.run("%fusion compare first").result.png
        assert (
            ip.run("%fusion split --parties 3 --split shards").result.alt
            == "3 parties with 478 to 480 rows each, and 10 classes"
        )

    def test_export_prints_its_files(self, ip: Any) -> None:
        assert (
            "model.safetensors"
            in ip.run("%fusion export first fused --format pt,safetensors --which best").text
        )
        assert "already exists" in ip.run("%fusion export fused").text
        assert ip.run("%fusion export fused --overwrite").error is None

    def test_list_and_help_print_every_name_and_option(self, ip: Any) -> None:
        text = ip.run("%fusion list").text
        assert all(name in text for name in ("fedavg", "dirichlet", "digits", "torch", "local"))
        assert "alpha: float, > 0, default 0.5" in ip.run("%fusion help dirichlet").text
        assert "--rounds" in ip.run("%fusion help more").text
        for line in ("%fusion", "%fusion help"):
            text = ip.run(line).text
            assert all(
                f"--{name.replace('_', '-')}" in text
                for name in RunSpec.model_fields
                if name != "code"
            )


def test_commands_find_a_run_whose_variable_was_deleted(ip: Any) -> None:
    fuse(ip, "--rounds 100000 --background")
    ip.run("del run")
    fuse(ip, "--rounds 1")
    listed = ip.run("%fusion runs").text
    assert "run: running" in listed
    assert "run_2: finished" in listed
    assert "run: stopped" in ip.run("%fusion stop run").text


def test_help_and_yaml_files_know_aliases(ip: Any) -> None:
    for line in ("%fusion help --rounds", "%fusion help rounds", "%fusion help -r"):
        assert "--rounds, -r" in ip.run(line).text
    Path("their.yaml").write_text("clients: 3\nalgorithm: iter_avg\nuntil:\nrounds: 1\n")
    fuse(ip, "--config their.yaml")
    assert (ip.ns["run"].spec.parties, ip.ns["run"].spec.fusion) == (3, "iter_avg")


def test_more_rounds_for_a_paused_run_are_added_once(ip: Any) -> None:
    fuse(ip, "--rounds 100000 --background --name held")
    ip.run("%fusion pause")
    seen = ip.run("%fusion more held --rounds 5")
    assert seen.error is None
    assert "held: paused" in seen.text
    assert ip.ns["held"].planned == 100005
    ip.run("%fusion stop")


def test_runs_are_told_apart_by_what_decides_them(ip: Any) -> None:
    fuse(ip, "--rounds 1 --parties 3 --split shards --fusion iter_avg --seed 7")
    told = ip.run("%fusion runs").text
    assert "; iter_avg over 3 parties, split shards, seed 7\n" in told


def test_a_question_mark_shows_the_usage(ip: Any) -> None:
    for name in ("%fusion", "%%fusion"):
        shown = ip.shell.object_inspect(name)["docstring"]
        assert "%fusion stats [DATA]" in shown
        assert "--rounds, -r" in shown


def test_every_command_has_a_function() -> None:
    assert list(commands.COMMANDS) == list(options.COMMANDS)
