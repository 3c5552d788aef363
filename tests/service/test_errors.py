"""Errors of the service: their HTTP status, their JSON, and their way between processes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from fusion_nb.errors import DataError, FusionError, OptionError, option, private
from fusion_nb.service.errors import (
    EndingError,
    FieldError,
    OrderError,
    RefusedError,
    TooLargeError,
    UnknownError,
    from_wire,
    status_of,
    to_json,
    to_wire,
)
from fusion_nb.service.processes import sandbox
from fusion_nb.service.storage.run_folder import RunFolder


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FieldError("rounds", "wrong"), 400),
        (UnknownError("absent"), 404),
        (OrderError("too early"), 409),
        (TooLargeError("too large"), 413),
        (RefusedError("unusable"), 422),
        (DataError("unreadable"), 422),
        (EndingError("shutting down"), 503),
    ],
)
def test_each_kind_of_error_has_its_status(error: FusionError, status: int) -> None:
    assert status_of(error) == status


class TestJson:
    def test_options_are_written_as_fields_of_a_request(self) -> None:
        error = OptionError(
            f"{option('batch_size', 0)} is not allowed", f"leave {option('batch_size')} out"
        )
        assert to_json(error) == {
            "error": "batch_size '0' is not allowed",
            "hint": "leave batch_size out",
            "option": "batch_size",
            "value": "0",
        }

    def test_fields_and_allowed_values_are_listed(self) -> None:
        error = FieldError("fusion", "wrong", "choose", value="x", allowed=("fedavg", "fedprox"))
        assert to_json(error) == {
            "error": "wrong",
            "hint": "choose",
            "value": "x",
            "allowed": ["fedavg", "fedprox"],
            "field": "fusion",
        }

    def test_absent_parts_are_left_out(self) -> None:
        assert to_json(OrderError("too early")) == {"error": "too early", "hint": ""}

    def test_values_that_json_cannot_hold_become_text(self) -> None:
        error = OptionError("wrong", option="loss", value=Path("x"))
        assert json.loads(json.dumps(to_json(error)))["value"] == "x"


class TestWire:
    def test_all_parts_survive(self) -> None:
        error = OptionError(
            f"{option('lr', -1)} is not allowed", f"{option('lr')} > 0", allowed=("0.1", "0.2")
        )
        restored = from_wire(json.loads(json.dumps(to_wire(error))))
        assert isinstance(restored, RefusedError)
        assert to_json(restored) == to_json(error)

    def test_too_large_stays_too_large(self) -> None:
        assert status_of(from_wire(to_wire(TooLargeError("more than allowed")))) == 413

    def test_a_field_error_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(FieldError("rounds", "wrong", "mend it", value="0")))
        assert (error.field, error.message, error.hint, error.value) == (
            "rounds",
            "wrong",
            "mend it",
            "0",
        )


class TestPublicErrors:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> RunFolder:
        (tmp_path / "parties" / "0001").mkdir(parents=True)
        return RunFolder(tmp_path)

    def test_private_text_is_removed_and_other_quotes_stay(self, folder: RunFolder) -> None:
        error = DataError(
            f"label {private(repr('Alice'))} of 'party 1' is no number", f"see {private('row 7')}"
        )
        found = to_json(from_wire(to_wire(sandbox.to_public_error(error, folder))))
        assert found["error"] == "label '...' of 'party 1' is no number"
        assert found["hint"] == "see '...'"

    def test_private_text_never_leaves_the_process(self, folder: RunFolder) -> None:
        error = DataError(f"label {private('Alice')} is no number", f"or {private('Bob')}")
        sent = json.dumps(to_wire(sandbox.to_public_error(error, folder)))
        assert "Alice" not in sent
        assert "Bob" not in sent

    def test_the_client_that_sent_the_upload_reads_the_whole_error(self) -> None:
        error = DataError(f"label {private('Alice')} is no number")
        assert "Alice" in to_json(from_wire(to_wire(sandbox.to_error(error))))["error"]

    def test_errors_of_custom_data_sets_are_not_quoted(self, folder: RunFolder) -> None:
        (folder.parties / "0001" / "handler.py").touch()
        found = sandbox.to_public_error(ValueError("Alice Smith, 0 years"), folder)
        assert found.message == "ValueError while it trained, perhaps of a party's own data set"

    def test_memory_errors_are_told_as_such(self, folder: RunFolder) -> None:
        (folder.parties / "0001" / "handler.py").touch()
        found = sandbox.to_public_error(MemoryError(), folder)
        assert found.message == "MemoryError: there was not enough memory"

    def test_errors_of_the_system_do_not_name_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            (tmp_path / "absent").read_bytes()
        assert sandbox.to_error(caught.value).message == (
            "FileNotFoundError: No such file or directory"
        )
