"""Fields of requests: names, values and errors, without a server."""

from __future__ import annotations

import pytest

from fusion_nb.core import registry
from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.service import request_fields
from fusion_nb.service.errors import FieldError
from fusion_nb.service.model_types import MODEL_FILES, model_type_of


class TestOptions:
    def test_original_and_own_names_set_the_same_options(self) -> None:
        original = {"model_type": "pytorch", "num_parties": "2", "learning_rate": "0.5"}
        own = {"model_type": "pytorch", "parties": "2", "lr": "0.5"}
        expected = ("pytorch", {"parties": 2, "lr": 0.5})
        assert request_fields.read_options(original) == expected
        assert request_fields.read_options(own) == expected

    def test_empty_fields_have_their_defaults(self) -> None:
        fields = {"model_type": "keras", "num_parties": "3", "optimizer": "", "rounds": ""}
        assert request_fields.read_options(fields) == ("keras", {"parties": 3})

    def test_errors_name_field_option_and_value(self) -> None:
        fields = {"model_type": "pytorch", "num_parties": "2", "learning_rate": "-1"}
        with pytest.raises(FieldError) as caught:
            request_fields.read_options(fields)
        error = caught.value
        assert (error.field, error.option, error.value) == ("learning_rate", "lr", "-1")

    def test_hints_write_options_as_fields(self) -> None:
        fields = {"model_type": "pytorch", "num_parties": "2", "fusion": "fedavgg"}
        with pytest.raises(FieldError) as caught:
            request_fields.read_options(fields)
        assert "--" not in caught.value.hint
        assert "did you mean 'fedavg'" in caught.value.hint

    def test_every_option_that_is_taken_is_described(self) -> None:
        schemas = request_fields.option_schemas()
        options = {request_fields.OPTIONS[name] for name in schemas}
        assert options == set(request_fields.OPTIONS.values())
        assert all(schema["description"].endswith(".") for schema in schemas.values())


class TestHandlers:
    def test_handlers_that_read_no_file_are_not_offered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Weather:
            def __init__(self, *, year: int = 2020) -> None:
                self.year = year

        known = dict.fromkeys(registry.names("datasets"))
        monkeypatch.setattr(registry, "names", lambda kind: [*known, "weather"])
        get = registry.get
        monkeypatch.setattr(
            registry, "get", lambda kind, name: Weather if name == "weather" else get(kind, name)
        )
        offered = request_fields.handlers()
        assert "npz" in offered
        assert not {"weather", "digits"} & set(offered)

    def test_custom_handlers_are_names_of_classes(self) -> None:
        assert request_fields.read_handler("Mine", is_custom=True) == "Mine"
        with pytest.raises(FieldError, match="is not the name of a class"):
            request_fields.read_handler("os:system", is_custom=True)


class TestParties:
    def test_unnamed_parties_are_numbered(self) -> None:
        assert request_fields.read_party("", ["a", "b"]) == "party 3"

    @pytest.mark.parametrize("name", ["a\nb", " ", "x" * 101])
    def test_names_that_cannot_be_printed_are_refused(self, name: str) -> None:
        with pytest.raises(FieldError, match="is not allowed"):
            request_fields.read_party(name, [])


def test_every_framework_has_a_model_type() -> None:
    assert {model_type_of(framework) for framework in FRAMEWORKS} == set(MODEL_FILES)
    assert model_type_of("torch") == "pytorch"
    assert model_type_of("unknown") == ""


@pytest.mark.parametrize("text", ["trace:/etc/hostname", "trace:file=awake.csv,factor=2"])
def test_a_trace_on_the_servers_machine_is_not_read(text: str) -> None:
    fields = {"model_type": "pytorch", "num_parties": "2", "devices": text}
    with pytest.raises(FieldError, match="needs data of the server's"):
        request_fields.read_options(fields)
    assert request_fields.read_options({**fields, "devices": "phones"})[1]["devices"] == "phones"
