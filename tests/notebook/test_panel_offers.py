"""Models, data and options that go together: what the panel offers, and what it marks."""

from __future__ import annotations

from typing import Any

import pytest
from panels import enabled, labelled, marked, offered, press, run_to_the_end, settle

from fusion_nb import Panel, RunSpec
from fusion_nb.errors import NameNotFoundError, OptionError


def visible_options(panel: Panel) -> set[str]:
    """Return the options whose controls are not hidden by themselves; their group may be."""
    controls = panel.screen.controls.items()
    return {name for name, control in controls if control.box.layout.display != "none"}


class TestOffers:
    def test_models_and_data_are_found_by_their_type(self, namespace: dict[str, Any]) -> None:
        namespace |= {
            "number": 3,
            "net2": namespace["model"],
            "_hidden": namespace["model"],
            "text": "no data",
        }
        panel = Panel(namespace=namespace)
        assert offered(panel, "model") == ["model", "net2", "\0"]
        data = offered(panel, "data")
        assert data[0] == "rows", "variables come first"
        assert {"digits", "mnist"} <= set(data)
        assert not {"number", "text", "npz", "20_newsgroup"} & set(data)

    def test_the_only_model_is_chosen_whatever_its_name(self, namespace: dict[str, Any]) -> None:
        panel = Panel(namespace={"net": namespace["model"]}, rounds=2)
        assert panel.spec == RunSpec(model="net", rounds=2)
        assert labelled(panel, "model").value == "net"

    def test_data_is_offered_where_its_kind_fits_the_model(self, namespace: dict[str, Any]) -> None:
        gensim = pytest.importorskip("gensim")
        pandas = pytest.importorskip("pandas")
        namespace |= {
            "d2v": gensim.models.Doc2Vec(vector_size=5),
            "iris": pandas.DataFrame({"width": [1.0, 2.0], "species": ["this one", "that one"]}),
            "clinics": [namespace["rows"], namespace["rows"]],
        }
        panel = Panel("model", namespace=namespace)
        variables = [name for name in offered(panel, "data") if name in namespace]
        assert variables == ["rows", "iris", "clinics"]
        labelled(panel, "model").value = "d2v"
        assert "iris" in offered(panel, "data")
        assert "clinics" not in offered(panel, "data")

    def test_refresh_finds_new_variables(self, namespace: dict[str, Any]) -> None:
        variables: dict[str, Any] = {}
        panel = Panel(namespace=variables)
        assert panel.spec.model == "model"
        with pytest.raises(NameNotFoundError):
            run_to_the_end(panel)
        assert "there is no variable &#39;model&#39;" in panel.screen.controls["model"].error.value
        variables["mine"] = namespace["model"]
        press(panel, "Refresh variables")
        assert panel.spec.model == "mine", "the only one there is"
        variables["model"] = namespace["model"]
        press(panel, "Refresh variables")
        assert panel.spec.model == "mine", "what is chosen stays"

    def test_options_of_other_models_are_hidden_with_a_reason(
        self, namespace: dict[str, Any]
    ) -> None:
        gensim = pytest.importorskip("gensim")
        namespace |= {
            "d2v": gensim.models.Doc2Vec(vector_size=5),
            "texts": ["one text", "another text"] * 9,
        }
        panel = Panel("model", namespace=namespace)
        assert "doc2vec" not in offered(panel, "fusion")
        assert (
            "the fusions doc2vec and sum need statistics or training on documents"
            in panel.screen.offer
        )
        assert ": a PyTorch model takes numbers" in panel.screen.offer
        assert labelled(panel, "fusion").options[0] == ("fedavg (default)", "")
        assert {"batch_size", "optimizer"} <= visible_options(panel)
        assert "min_parties" not in visible_options(panel)
        labelled(panel, "model").value = "d2v"
        assert {"doc2vec", "fedavg"} <= set(offered(panel, "fusion"))
        assert not {"fedprox", "scaffold"} & set(offered(panel, "fusion"))
        assert "fedprox" in panel.screen.offer
        assert labelled(panel, "fusion").options[0] == ("doc2vec (default)", "")
        assert not {"batch_size", "optimizer", "loss"} & visible_options(panel)
        assert "min_parties" in visible_options(panel)
        assert {"texts", "20_newsgroup", "wikipedia"} <= set(offered(panel, "data"))
        assert "rows" not in offered(panel, "data")
        panel.set(model="d2v", data="texts", batch_size=8)
        assert panel.spec.batch_size == RunSpec().batch_size, (
            "an option that it does not have is not sent"
        )

    def test_a_fusion_that_is_not_offered_can_be_loaded_and_is_refused(self, panel: Panel) -> None:
        panel.set(fusion="doc2vec")
        with pytest.raises(OptionError, match="summed_loss"):
            run_to_the_end(panel)
        assert panel.screen.controls["fusion"].is_marked
        assert panel.status == "idle"

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"parties": 500}, "parties"),
            ({"data": "nothing"}, "data"),
            ({"model": "nothing"}, "model"),
            ({"model": "nothing.pt"}, "model"),
            ({"data": "digits"}, "model"),
            ({"until": "speed > 1"}, "until"),
            ({"monitor": "speed"}, "monitor"),
            ({"optimizer": "nothing"}, "optimizer"),
            ({"split": "by_key:key=nobody"}, "split"),
        ],
    )
    def test_start_marks_the_option_of_an_error(
        self, panel: Panel, options: dict[str, Any], expected: str
    ) -> None:
        panel.set(**options)
        press(panel, "Start")
        settle(panel)
        assert marked(panel) == [expected]
        assert 'role="alert"' in panel.screen.message
        assert panel.status == "idle"
        assert panel.run is None
        assert enabled(panel) == {"Start"}
