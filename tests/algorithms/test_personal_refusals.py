"""Personal models that do not go together with the rest of a run, and their help."""

from __future__ import annotations

from typing import Any

import pytest
from personal_runs import METHODS, federation_of

from fusion_nb import Run, RunSpec
from fusion_nb.errors import FusionError, NameNotFoundError, OptionError
from fusion_nb.notebook import explain
from fusion_nb.runs.build import build


class TestPersonalMethodsRefused:
    @pytest.mark.parametrize("rule", ["dynamic", "fda"])
    @pytest.mark.parametrize("name", ["apfl", "fedper", "ifca"])
    def test_rules_whose_parties_keep_their_weights(
        self, rows: Any, net: Any, rule: str, name: str
    ) -> None:
        with pytest.raises(
            OptionError,
            match=rf"--personal {name}.* with --fusion {rule}, whose parties keep weights",
        ):
            federation_of(rows, net(), fusion=rule, **METHODS[name])

    def test_two_ways_to_give_parties_models(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="--personal and --share"):
            federation_of(rows, net(), personal="ditto", share="best")

    @pytest.mark.parametrize(
        ("name", "asks"), [("ditto", "proximal term .anchor, mu."), ("apfl", "two models .mix.")]
    )
    def test_client_options_that_a_doc2vec_does_not_support(self, name: str, asks: str) -> None:
        doc2vec = pytest.importorskip("gensim.models.doc2vec")
        model = doc2vec.Doc2Vec(vector_size=4, min_count=1, epochs=1)
        texts = ["some words about cats", "other words about dogs"] * 10
        with pytest.raises(
            OptionError,
            match=f"--personal {name} asks every party for .*{asks}, which a Doc2Vec can't",
        ):
            federation_of((texts, ["a", "b"] * 10), model, personal=name, lr=None)

    @pytest.mark.parametrize(
        ("options", "error", "says"),
        [
            ({"personal": "dito"}, NameNotFoundError, "did you mean 'ditto'"),
            ({"personal": "ditto:lamda=1"}, OptionError, "did you mean 'lambda'"),
            ({"personal": "ditto:lambda=-1"}, OptionError, "ditto:lambda=-1 is not allowed"),
            ({"personal": "apfl:alpha=1.5"}, OptionError, "a number >= 0 and <= 1"),
            ({"personal": "ifca:clusters=0"}, OptionError, "a whole number >= 1"),
            ({"personal": "finetune:epochs=0"}, OptionError, "a whole number >= 1"),
            ({"personal": "fedper"}, OptionError, "needs the option 'layers'"),
            ({"personal": "fedbn:layers=1"}, OptionError, "it has no options"),
            ({"share": "bst"}, NameNotFoundError, "did you mean 'best'"),
            ({"share": "best:grops=2"}, OptionError, "did you mean 'groups'"),
            ({"baseline": "centrl"}, OptionError, "did you mean 'central'"),
        ],
    )
    @pytest.mark.parametrize(
        "how",
        [
            build,
            Run,
        ],
    )
    def test_mistakes_in_options_are_told_before_data_is_read(
        self, net: Any, options: Any, error: Any, says: str, how: Any
    ) -> None:
        class Handler:
            def get_data(self) -> Any:
                raise AssertionError("data was read")

        with pytest.raises(error) as caught:
            how(
                RunSpec(data="data", data_handler="Handler", **options),
                {"model": net(), "Handler": Handler},
            )
        assert says in str(caught.value)


class TestHelpOnPersonalMethods:
    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("ditto", "lambda: float, >= 0, default 0.1"),
            ("apfl", "alpha: float, >= 0 and <= 1, default 0.5"),
            ("fedper", "layers: str, required"),
            ("fedbn", "use: --personal fedbn"),
            ("ifca", "clusters: int, >= 1, default 2"),
            ("finetune", "epochs: int, >= 1, default 1"),
            ("best", "use: --share best:groups=..."),
        ],
    )
    def test_on_one_method(self, name: str, says: str) -> None:
        text = explain.component(name)
        assert says in text
        assert "Source:" in text

    def test_on_all_of_a_kind(self) -> None:
        text = explain.listing(["personal", "sharing"])
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
        assert [name for name, _ in lines] == [
            "apfl",
            "ditto",
            "fedbn",
            "fedper",
            "finetune",
            "ifca",
            "best",
        ]
        assert all(promise.endswith(".") for _, promise in lines)

    def test_a_failure_is_a_fusion_error(self) -> None:
        with pytest.raises(FusionError, match="did you mean 'personal'"):
            explain.listing(["personl"])
