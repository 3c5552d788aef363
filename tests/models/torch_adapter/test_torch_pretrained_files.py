"""Fused models of transformers as folders that `from_pretrained` reads, adapters among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from extras import needs
from tiny_transformers import bert, gpt, ids, lora, trained

from fusion_nb.errors import ExportError

needs("transformers", "peft")

TOKENS = torch.tensor(ids()[:4])
LABELS = ids()[:, 0] % 2


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def runs() -> dict[str, Any]:
    return {
        "gpt": trained(gpt(), ids(), rounds=1),
        "bert": trained(bert(), {"input_ids": ids(), "labels": LABELS}, rounds=1),
        "lora gpt": trained(lora(gpt()), ids(), rounds=1, send="trained"),
        "lora bert": trained(lora(bert()), {"input_ids": ids(), "labels": LABELS}, rounds=1),
    }


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return runs()


@pytest.mark.parametrize("name", ["gpt", "bert", "lora gpt", "lora bert"])
def test_a_folder_is_loaded_again_offline(
    found: Any, name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    import transformers

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = found[name]
    files = run.export(str(tmp_path / "fused"), format="pretrained")
    assert (tmp_path / "fused" / "pretrained") in files
    auto = (
        transformers.AutoModelForCausalLM
        if "gpt" in name
        else (transformers.AutoModelForSequenceClassification)
    )
    loaded = auto.from_pretrained(tmp_path / "fused" / "pretrained")
    assert torch.allclose(logits(loaded), logits(run.model), atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "fused" / "pretrained").glob("*.safetensors"))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's
@pytest.mark.parametrize(("name", "make"), [("lora gpt", gpt), ("lora bert", bert)])
def test_an_adapter_alone_goes_on_its_base_model(
    found: Any, name: str, make: Any, tmp_path: Path
) -> None:
    from peft import PeftModel

    run = found[name]
    run.export(str(tmp_path / "fused"), format=["adapter", "pt"])
    loaded = PeftModel.from_pretrained(make(), tmp_path / "fused" / "adapter")
    assert torch.allclose(logits(loaded), logits(run.model), atol=1e-6)
    weights = tmp_path / "fused" / "adapter" / "adapter_model.safetensors"
    assert weights.stat().st_size < (tmp_path / "fused" / "model.pt").stat().st_size


def test_the_user_model_and_the_run_are_not_changed_by_a_merge(found: Any, tmp_path: Path) -> None:
    run = found["lora gpt"]
    before = logits(run.model)
    run.export(str(tmp_path / "one"), format="pretrained")
    assert torch.equal(logits(run.model), before)
    assert type(run.model).__name__ == "PeftModelForCausalLM"


def test_an_export_is_replaced_as_a_whole(found: Any, tmp_path: Path) -> None:
    run = found["bert"]
    folder = str(tmp_path / "fused")
    run.export(folder, format="pretrained")
    run.export(folder, format="pretrained", overwrite=True)
    (tmp_path / "fused" / "pretrained" / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"mine\.txt"):
        run.export(folder, format="pretrained", overwrite=True)


@pytest.mark.parametrize("name", ["gpt", "lora gpt"])
def test_nothing_is_left_of_an_export_that_fails(
    found: Any, name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    import transformers

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", full)
    with pytest.raises(ExportError, match="No space left"):
        found[name].export(str(tmp_path / "fused"), format="pretrained")
    assert not list(tmp_path.iterdir())


def test_formats_are_those_of_the_kind_of_model(found: Any, rows: Any, net: Any) -> None:
    import fusion_nb

    assert found["gpt"].formats[0] == "pretrained"
    assert "adapter" not in found["gpt"].formats
    assert found["lora gpt"].formats[:2] == ["pretrained", "adapter"]
    plain = fusion_nb.federate(net(), rows, parties=3, rounds=1, lr=0.1)
    assert not {"pretrained", "adapter"} & {*plain.formats}
    with pytest.raises(ExportError, match="pretrained"):
        plain.export("nowhere", format="pretrained")


def test_an_ensemble_has_the_formats_of_any_module(tmp_path: Path) -> None:
    run = trained(bert(), {"input_ids": ids(), "labels": LABELS}, ensemble="mean", rounds=1)
    assert "pretrained" not in run.formats
    assert run.export(str(tmp_path / "fused"))
