"""Completion of the option line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import fuse


class TestCompletion:
    @pytest.mark.parametrize(
        ("text", "offered"),
        [
            ("%%fusion --spl", ["--split"]),
            ("%%fusion --split dir", ["dirichlet"]),
            ("%%fusion --split dirichlet:al", ["dirichlet:alpha="]),
            ("%fusion --split shards:", ["shards:per_party="]),
            ("%fusion --algorithm iter", ["iter_avg"]),
            ("%fusion sta", ["status"]),
            ("%fusion --model ", ["model"]),
            ("%fusion --data ro", ["rows"]),
            ("%fusion --device c", ["cpu", "cuda"]),
            ("%fusion export first --format p", ["pt", "pt2"]),
            ("%fusion export fi", ["first"]),
            ("%fusion export --whi", ["--which"]),
            ("%fusion export a --which ", ["last", "best"]),
            ("%fusion help diri", ["dirichlet"]),
            ("%fusion list spl", ["splits"]),
        ],
    )
    def test_only_words_that_fit_are_offered(
        self, ip: Any, monkeypatch: pytest.MonkeyPatch, text: str, offered: list[str]
    ) -> None:
        from IPython.core.completer import provisionalcompleter

        fuse(ip, "--rounds 1 --name first")
        ip.ns["rows"] = (np.zeros((2, 2)), np.zeros(2))
        monkeypatch.setattr(ip.shell.Completer, "use_jedi", False)  # it answers for Python alone
        with provisionalcompleter():
            found = list(ip.shell.Completer.completions(text, len(text)))
        assert [completion.text for completion in found] == offered
        assert all(
            text[completion.start :] == text[completion.start : completion.end]
            for completion in found
        )

    def test_the_body_is_left_to_python(self, ip: Any) -> None:
        from IPython.core.completer import provisionalcompleter

        text = "%%fusion --rounds 1\nimport os; os.getc"
        with provisionalcompleter():
            found = [
                completion.text for completion in ip.shell.Completer.completions(text, len(text))
            ]
        assert any("getcwd" in completion for completion in found)

    def test_completion_is_removed_with_the_extension(self, ip: Any) -> None:
        count = len(ip.shell.Completer.custom_matchers)
        ip.run("%unload_ext fusion_nb")
        assert len(ip.shell.Completer.custom_matchers) == count - 1
        assert "fusion" not in ip.shell.magics_manager.magics["cell"]
        ip.run("%load_ext fusion_nb")
        ip.run("%load_ext fusion_nb")
        assert len(ip.shell.Completer.custom_matchers) == count
