"""Names of components, and the text that gives them options."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

import fusion_nb
from fusion_nb.core import registry
from fusion_nb.core.options import signature_options
from fusion_nb.data import splits
from fusion_nb.errors import FusionError, NameNotFoundError, OptionError


class TestOptions:
    def test_text_becomes_typed_options(self) -> None:
        assert registry.bind("splits", "dirichlet:alpha=0.3")[1] == {"alpha": 0.3}
        assert registry.bind("splits", "shards:per_party=3")[1] == {"per_party": 3}

    def test_the_first_option_needs_no_name(self) -> None:
        assert registry.bind("splits", "dirichlet:0.3")[1] == {"alpha": 0.3}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("dirichlet:alpha", "alpha=alpha is not allowed"),
            ("dirichlet:alpha=1,x", "is not option=value"),
            ("iid:3", "has no option '3'"),
            ("dirichlet:alpha=x", "alpha=x is not allowed"),
            ("dirichlet:alpha=0", "alpha=0 is not allowed"),
            ("dirichlet:alpha=nan", "alpha=nan is not allowed"),
            ("dirichlet:alfa=1", "has no option 'alfa'"),
            ("shards:per_party=1.5", "per_party=1.5 is not allowed"),
            ("iid:x=1", "has no option 'x'"),
        ],
    )
    def test_wrong_options_are_named(self, text: str, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            registry.bind("splits", text)

    def test_an_option_inside_another_one_is_found(self) -> None:
        with pytest.raises(OptionError) as caught:
            registry.bind("privacy", "central:epsilon=3")
        assert caught.value.hint.startswith("write noise=auto:epsilon=3; it has: clip, noise")

    def test_all_options_that_are_required_are_named(self) -> None:
        with pytest.raises(OptionError, match="needs the option 'clip'") as caught:
            registry.bind("privacy", "central:delta=1e-3")
        assert caught.value.hint.startswith("write it as central:delta=1e-3,clip=...,noise=...  (")

    def test_a_comma_in_brackets_belongs_to_the_value(self) -> None:
        assert registry.parse("adam:betas=(0.9,0.99),eps=1e-8") == (
            "adam",
            {"betas": "(0.9,0.99)", "eps": "1e-8"},
        )

    def test_an_optional_number_is_a_number(self) -> None:
        def rule(weights: Any, updates: Any, *, keep: int | None = None) -> Any: ...

        assert signature_options(rule)[0].type is int


class TestNames:
    def test_built_ins_keep_their_names(self) -> None:
        with pytest.raises(OptionError, match="built-in"):
            registry.register("fusions", "fedavg", object)
        with pytest.raises(OptionError, match="can't name"):
            registry.register("fusions", "fed avg", object)

    def test_a_missing_extra_gives_its_install_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(registry.BUILTIN["datasets"], "gensim", "gensim.nothing_there:X")
        monkeypatch.setitem(sys.modules, "gensim", None)
        with pytest.raises(FusionError, match=r"pip install 'fusion_nb\[doc2vec\]'"):
            registry.get("datasets", "gensim")

    def test_an_entry_point_is_found_also_if_it_was_installed_meanwhile(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "theirs" not in registry.names("splits")
        point = EntryPoint("theirs", "fusion_nb.data.splits:iid", "fusion_nb.splits")
        with monkeypatch.context() as patched:
            patched.setattr(
                registry, "entry_points", lambda group: [point] if group == point.group else []
            )
            assert registry.get("splits", "theirs") is splits.iid
            assert "theirs" in registry.names("splits")
        with pytest.raises(NameNotFoundError):
            registry.get("splits", "not there")  # looks again, and so forgets what was installed
        assert "theirs" not in registry.names("splits")


@pytest.mark.parametrize(
    ("kind", "text", "option"),
    [
        ("splits", "dirichlet:alpha=-1", "split"),
        ("splits", "dirichlet:beta=1", "split"),
        ("sharing", "best:epochs=-1", "share"),
        ("fusions", "fedprx", "fusion"),
        ("datasets", "mnis", "data"),
    ],
)
def test_an_error_names_the_option_of_the_run(kind: str, text: str, option: str) -> None:
    with pytest.raises((OptionError, NameNotFoundError)) as caught:
        registry.bind(kind, text)
    assert (caught.value.option, caught.value.value) == (option, text)


def test_decorators_have_the_names_that_a_notebook_imports() -> None:
    names = ("compression", "engine", "fusion", "lr_schedule", "metric", "model_adapter")
    for name in (*names, "sampling", "split", "tracker"):
        found = getattr(fusion_nb, name)
        assert (found.__name__, ">>> @" in found.__doc__) == (name, True)
