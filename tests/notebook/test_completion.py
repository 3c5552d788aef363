"""Completion of the option line."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from cells import fuse

from fusion_nb.notebook import complete


class TestCompletion:
    @pytest.mark.parametrize(
        ("text", "offered"),
        [
            ("%%fusion --spl", ["--split"]),
            ("%%fusion --split dir", ["dirichlet"]),
            ("%%fusion --split dirichlet:al", ["dirichlet:alpha="]),
            ("%fusion --split shards:", ["shards:per_party="]),
            ("%fusion --algorithm iter", ["iter_avg"]),
            ("%fusion sta", ["stats", "status"]),
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

    @pytest.mark.parametrize(
        ("text", "word", "meaning"),
        [
            ("%%fusion --epo", "--epochs", "passes over a party's rows"),
            ("%%fusion --split iid \\\n  --epo", "--epochs", "passes over a party's rows"),
            ("%fusion --split dir", "dirichlet", "Give each party a share of every class"),
            ("%fusion --split dirichlet:", "dirichlet:alpha=", "how even"),
            ("%fusion --split=sha", "--split=shards", "Sort the rows by label"),
            ("%fusion --metrics auc,rec", "auc,recall", "The share of the rows"),
            ("%fusion sto", "stop", "stop a run"),
            ("%fusion help fedp", "fedprox", "Average the parties"),
        ],
    )
    def test_each_word_has_its_meaning_beside_it(
        self, ip: Any, monkeypatch: pytest.MonkeyPatch, text: str, word: str, meaning: str
    ) -> None:
        from IPython.core.completer import provisionalcompleter

        monkeypatch.setattr(ip.shell.Completer, "use_jedi", False)
        with provisionalcompleter():
            found = {
                each.text: each.type for each in ip.shell.Completer.completions(text, len(text))
            }
        assert found[word].startswith(meaning)

    def test_variables_of_the_notebook_itself_and_modules_are_no_data(self, ip: Any) -> None:
        ip.run("import numpy as np, os\nrows = (np.zeros((2, 2)), np.zeros(2))\n1 + 1")
        ip.ns |= {"In": ["a", "b"], "Out": {1: np.zeros(2)}}
        offered = complete.values("data", "", ip.ns)
        assert "rows" in offered
        assert not {"In", "Out", "np", "os"} & {*offered}

    def test_the_body_is_left_to_python(self, ip: Any) -> None:
        from IPython.core.completer import provisionalcompleter

        text = "%%fusion --rounds 1\nimport os; os.getc"
        with provisionalcompleter():
            found = [
                completion.text for completion in ip.shell.Completer.completions(text, len(text))
            ]
        assert any("getcwd" in completion for completion in found)

    def test_the_first_one_waits_for_nothing_that_trains(self) -> None:
        code = (
            "import sys; from fusion_nb.notebook import complete; "
            "print(*complete.suggest(['--fusion'], 'fed', {}), *complete.suggest([], '--ro', {})); "
            "print('fusion_nb.runs.run' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        words, is_loaded = done.stdout.splitlines()
        assert {"fedavg", "--rounds"} <= {*words.split()}
        assert is_loaded == "False"

    def test_completion_is_removed_with_the_extension(self, ip: Any) -> None:
        count = len(ip.shell.Completer.custom_matchers)
        ip.run("%unload_ext fusion_nb")
        assert len(ip.shell.Completer.custom_matchers) == count - 1
        assert "fusion" not in ip.shell.magics_manager.magics["cell"]
        ip.run("%load_ext fusion_nb")
        ip.run("%load_ext fusion_nb")
        assert len(ip.shell.Completer.custom_matchers) == count
