"""Keras models as files: every format, and files that are refused."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_samples import (
    CLASSES,
    X,
    layers,
    sequential,
)

from fusion_nb import federate
from fusion_nb.errors import ModelError
from fusion_nb.models import lookup
from fusion_nb.models.keras import files
from fusion_nb.models.keras.adapter import keras


class TestFiles:
    @pytest.mark.slow
    def test_exported_files_have_the_same_metrics_in_a_new_process(self, tmp_path: Path) -> None:
        x, y = np.resize(X, (200, 4)), (np.resize(X, (200, 4))[:, 0] > 0).astype(np.int64)
        model = sequential(layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2))
        run = federate(model, ((x, y), (x, y)), parties=2, rounds=3, lr=0.1)
        written = run.export(str(tmp_path / "fused"), run.formats)
        assert {"model.keras", "model.weights.h5"} <= {path.name for path in written}
        np.savez(tmp_path / "rows.npz", x=x, y=y)
        script = f"""
import json, sys
import numpy as np, keras
rows = np.load({str(tmp_path / "rows.npz")!r})
model = keras.saving.load_model({str(tmp_path / "fused/model.keras")!r})
found = [model.evaluate(rows["x"], rows["y"], verbose=0, return_dict=True)]
model.set_weights([0 * w for w in model.get_weights()])
model.load_weights({str(tmp_path / "fused/model.weights.h5")!r})
found.append(model.evaluate(rows["x"], rows["y"], verbose=0, return_dict=True))
if {"savedmodel" in run.formats}:
    folder = {str(tmp_path / "fused/model_savedmodel")!r}
    saved = keras.layers.TFSMLayer(folder, call_endpoint="serve")
    output = keras.ops.convert_to_numpy(saved(rows["x"]))
    found.append({{"accuracy": float((output.argmax(1) == rows["y"]).mean())}})
print(json.dumps(found))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        assert len(found) == len(run.formats)
        for metrics in found:
            for name, value in metrics.items():
                assert value == pytest.approx(run.history[name][-1], abs=1e-6)
        card = json.loads((tmp_path / "fused/card.json").read_text())
        assert card["versions"]["keras"] == keras.__version__
        assert run.export(str(tmp_path / "fused"), run.formats, overwrite=True)

    def test_a_keras_file_is_taken_as_a_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        sequential(layers.Dense(3)).save("mine.keras")
        assert isinstance(lookup.find("mine.keras", {}), keras.Model)
        assert federate("mine.keras", (X, CLASSES), parties=2, rounds=1).status == "finished"

    def test_code_in_a_file_is_not_run(self, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        code = eval(f"lambda x: (open({str(ran)!r}, 'w').close(), x)[1]")
        model = keras.Sequential([layers.Input((4,)), layers.Lambda(code)])
        ran.unlink(missing_ok=True)
        model.save(tmp_path / "hostile.keras")
        with pytest.raises(ModelError, match=r"hostile\.keras is refused"):
            files.load(tmp_path / "hostile.keras")
        assert not ran.exists()

    @pytest.mark.parametrize("damage", ["no zip", "no config", "cut"])
    def test_a_damaged_file_is_refused_in_one_line(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "bad.keras"
        sequential(layers.Dense(3)).save(path)
        content = path.read_bytes()
        if damage == "no config":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("metadata.json", "{}")
        else:
            path.write_bytes(b"nothing" if damage == "no zip" else content[: len(content) // 2])
        with pytest.raises(ModelError) as caught:
            files.load(path)
        assert "\n" not in caught.value.message
