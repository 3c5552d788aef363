"""Files of IBM's federated-learning-lib as the options of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ibm_files import aggregator, npz, party, write, write_federation, write_rows
from typer.testing import CliRunner

import fusion_nb
from fusion_nb.cli import app
from fusion_nb.errors import OptionError
from fusion_nb.runs.ibm_config.reading import documents, options_of_files
from fusion_nb.runs.spec import from_file

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(*paths: str, **options: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the options of files, and the lines about parts without a counterpart."""
    lines: list[str] = []
    found = options_of_files(paths, lines.append, **options)
    assert found is not None
    fusion_nb.RunSpec(**found)
    return found, lines


def options_of(config: dict[str, Any]) -> dict[str, Any]:
    return read(write(Path("config_agg.yml"), config))[0]


def test_hyper_parameters_and_data(tmp_path: Path) -> None:
    found, _ = read(*write_federation(tmp_path, perc_quorum=0.75, termination_accuracy=0.9))
    assert found == {
        "data": "data_party0.npz,data_party1.npz",
        "fusion": "iter_avg",
        "rounds": 3,
        "epochs": 2,
        "batch_size": 16,
        "lr": 0.1,
        "quorum": 0.75,
        "until": "accuracy >= 0.9",
    }


@pytest.mark.parametrize("local", [{}, {"training": {}}, {"training": None}])
def test_its_defaults_are_those_of_its_code(local: dict[str, Any]) -> None:
    config = aggregator(local=local)
    config["hyperparams"]["global"] = {}
    found = options_of(config)
    assert (found["rounds"], found["epochs"], found["batch_size"], found["lr"]) == (1, 1, 128, 0.01)
    assert "quorum" not in found, "all parties must answer, in both"
    assert "until" not in found


@pytest.mark.parametrize(
    ("handler", "more", "expected"),
    [
        ("IterAvgFusionHandler", {}, "iter_avg"),
        ("FedAvgFusionHandler", {}, "fedavg"),
        ("CoordinateMedianFusionHandler", {}, "median"),
        ("KrumFusionHandler", {}, "krum"),
        ("KrumFusionHandler", {"byzantine_threshold": 2}, "krum:f=2"),
        ("Doc2VecFusionHandler", {}, "doc2vec"),
        ("XGBFusionHandler", {}, "bagging"),
    ],
)
def test_fusions(handler: str, more: dict[str, Any], expected: str) -> None:
    assert options_of(aggregator(fusion=handler, **more))["fusion"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"monitor": "loss", "mode": "min", "value": 0.2}, {"until": "loss <= 0.2"}),
        ({"monitor": "acc", "value": 0.9}, {"until": "accuracy >= 0.9", "monitor": "accuracy"}),
        ({"monitor": "val_loss", "window": 7}, {"patience": 7, "monitor": "loss"}),
        ({"min_delta": 0.1}, {"patience": 5, "monitor": "accuracy"}),
    ],
)
def test_early_stopping(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected.items() <= options_of(aggregator(early_stopping=given)).items()


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ({"optimizer": {"lr": 0.3}}, {"lr": 0.3}),
        ({"training": {"epochs": 2, "steps_per_epoch": 5}}, {"local_steps": 10}),
        ({"optimizer_params": {"momentum": 0.9, "lr": 0.1}}, {"optimizer": "sgd:momentum=0.9"}),
        ({"optimizer_params": {"betas": [0.9, 0.99]}}, {"optimizer": "sgd:betas=[0.9,0.99]"}),
    ],
)
def test_local_training(local: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected.items() <= options_of(aggregator(local=local)).items()


def model(definition: str, name: str = "PytorchFLModel") -> dict[str, Any]:
    spec = {"model_definition": definition, "optimizer": "optim.Adadelta"}
    spec["loss_criterion"] = "nn.NLLLoss"
    return {"name": name, "path": "ibmfl.model.pytorch_fl_model", "spec": spec}


def test_model_loss_and_optimizer(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    files = write_federation(folder)
    (folder / "net.pt").touch()
    write(folder / "config_party0.yml", party(0, npz("data_party0.npz"), model=model("net.pt")))
    found, _ = read(*files)
    assert found["model"] == str(folder / "net.pt"), "paths beside the file are found"
    assert found["data"].split(",") == [str(folder / f"data_party{i}.npz") for i in range(2)]
    assert (found["loss"], found["optimizer"]) == ("NLLLoss", "adadelta")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"fusion": "ZenoFusionHandler"}, "use krum, multikrum"),
        ({"fusion": "PFNMFusionHandler"}, "no counterpart"),
        ({"fusion": "IterAverageFusionHandler"}, "did you mean 'IterAvgFusionHandler'"),
        ({"rounds": "three"}, "rounds: 'three'"),
        ({"num_parties": 3}, "2 files of parties"),
        ({"local": {"training": 3}}, "training holds 3"),
    ],
)
def test_an_aggregators_mistakes(parts: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as raised:
        read(*write_federation(tmp_path, **parts))
    assert text in str(raised.value)
    assert len(raised.value.message.splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "more", "text"),
    [
        ({"name": "MyHandler", "path": "my/handler.py"}, {}, "--allow-code"),
        ({"name": "MnistPytorchDataHandler", "path": "my.module"}, {}, "code of your own"),
        ({"name": "MnistPytorchDataHandlr", "path": "ibmfl.util.data_handlers.x"}, {}, "did you"),
        ({"name": "WikipediaDoc2VecDataHandler"}, {}, "data: wikipedia"),
        (npz("a.npz") | {"info": {"pickled_file": "a.pickle"}}, {}, "a pickle runs code"),
        (npz("a.npz") | {"info": {"txt_file": "a.csv"}}, {}, "no npz_file"),
        ({}, {}, "names no data"),
        (npz("a.npz"), {"model": model("net.pickle")}, "a pickle runs code"),
        (npz("a.npz"), {"model": model("net.h5", "KerasFLModel")}, "model.keras"),
        (npz("a.npz"), {"model": model("folder", "TensorFlowFLModel")}, "SavedModel"),
    ],
)
def test_a_partys_mistakes(data: dict[str, Any], more: dict[str, Any], text: str) -> None:
    files = [
        write(Path("agg.yml"), aggregator(num_parties=1)),
        write(Path("p.yml"), party(0, data, **more)),
    ]
    with pytest.raises(OptionError) as raised:
        read(*files)
    assert text in str(raised.value)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    files = write_federation(tmp_path)
    with pytest.raises(OptionError, match="0 of the files are an aggregator's"):
        from_file(files[1])
    with pytest.raises(OptionError, match="2 of the files are an aggregator's"):
        from_file(f"{files[0]},{files[0]}")
    own = write(Path("own.yml"), {"rounds": 3})
    with pytest.raises(OptionError, match="not all are IBM's"):
        from_file(f"{files[0]},{own}")
    assert from_file(own) == {"rounds": 3}, "a file of ours is read as ever"
    with pytest.raises(OptionError, match=r"absent\.yml can't be read"):
        from_file("absent.yml")


def test_parts_without_a_counterpart_are_told_line_by_line(tmp_path: Path) -> None:
    config = aggregator(sigma=1)
    config["connection"]["info"]["tls_config"]["enable"] = True
    config["fusion"]["info"] = {"warm_start": True}
    more = {"preprocess": {"name": "x"}, "metrics": {"name": "x"}, "privacy": {"metrics": True}}
    write_rows(tmp_path / "a.npz")
    config["hyperparams"]["global"]["num_parties"] = 1
    files = [write(Path("agg.yml"), config), write(Path("p.yml"), party(0, npz("a.npz"), **more))]
    _, lines = read(*files)
    for start in (
        "agg.yml: hyperparams.sigma: has no counterpart",
        "agg.yml: hyperparams.max_timeout:",
        "agg.yml: connection.tls_config:",
        "agg.yml: fusion.info.warm_start:",
        "p.yml: preprocess: encode a table with tabular",
        "p.yml: metrics: name metrics by the option metrics",
        "p.yml: privacy:",
    ):
        assert sum(line.startswith(start) for line in lines) == 1, start
    assert not any("protocol_handler" in line for line in lines), "it decides nothing"


def test_csv_files_become_tables_with_their_label(tmp_path: Path) -> None:
    files = [write(Path("agg.yml"), aggregator())]
    for number in range(2):
        lines = "".join(f"{i % 7},{'ab'[i % 2]},{i % 2}\n" for i in range(30))
        (tmp_path / f"{number}.csv").write_text(f"age,sex,class\n{lines}")
        handler = {"name": "AdultSklearnDataHandler", "path": "ibmfl.util.data_handlers.adult"}
        data = handler | {"info": {"txt_file": f"{number}.csv"}}
        files.append(write(Path(f"p{number}.yml"), party(number, data)))
    found, _ = read(*files)
    assert (found["tabular"], found["label"]) == ("auto", "class")
    names: dict[str, Any] = {}
    exec(found["code"], names)
    assert [*names["data"]] == ["party 0", "party 1"]
    names["model"] = torch.nn.Linear(3, 2)
    run = fusion_nb.Run(fusion_nb.RunSpec(**found), names).start().wait()
    assert run.history["accuracy"][-1] > 0.5


def test_a_handler_of_ones_own_is_run_where_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "class Mine:\n"
        "    def __init__(self, data_config=None):\n        self.size = data_config['size']\n"
        "    def get_data(self):\n"
        "        x = np.ones((self.size, 3), 'float32')\n"
        "        return (x, np.arange(self.size) % 2), (x, np.arange(self.size) % 2)\n"
    )
    data = {"name": "Mine", "path": "mine.py", "info": {"size": 12}}
    files = [
        write(Path("agg.yml"), aggregator(num_parties=1)),
        write(Path("p.yml"), party(0, data)),
    ]
    found, _ = read(*files, allow_code=True)
    names: dict[str, Any] = {"model": torch.nn.Linear(3, 2)}
    exec(found["code"], names)
    run = fusion_nb.Run(fusion_nb.RunSpec(**found), names).start().wait()
    assert run.parties[0].num_examples == 12


def test_text_of_several_documents(capsys: pytest.CaptureFixture[str]) -> None:
    text = yaml.safe_dump_all([aggregator(num_parties=1), party(0, npz("a.npz"))])
    spec = fusion_nb.RunSpec.from_yaml(text)
    assert (spec.fusion, spec.data, spec.rounds) == ("iter_avg", "a.npz", 3)
    assert "hyperparams.max_timeout" in capsys.readouterr().out
    assert documents("rounds: 3") == documents("a: [") == documents("") == []


def test_a_cell_finds_the_parties_beside_the_aggregator(ip: Any) -> None:
    write_federation(Path.cwd())
    seen = ip.run("%%fusion --config config_agg.yml --rounds 1\nimport torch\n"
                  "model = torch.nn.Linear(3, 2)")  # fmt: skip
    assert seen.error is None, seen.text
    assert "read with config_party0.yml, config_party1.yml beside it" in seen.text
    assert [party.id for party in ip.ns["run"].parties] == ["data_party0", "data_party1"]


def test_the_command_trains_and_writes_its_metrics_files(tmp_path: Path) -> None:
    files = write_federation(tmp_path)
    torch.save(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LogSoftmax(1)), "net.pt")
    write(tmp_path / "config_party0.yml", party(0, npz("data_party0.npz"), model=model("net.pt")))
    done = CliRunner().invoke(app, ["run", *files, "--metrics-folder", "metrics"])
    assert done.exit_code == 0, done.output
    assert "round 3" in done.output
    found = json.loads(Path("metrics/metrics_data_party1.json").read_text())
    assert [entry["round_no"] for entry in found] == [1, 2, 3]
    keys = {"round_no", "pre_train", "post_train", "pre_update", "post_update"}
    assert all(entry.keys() == keys for entry in found)
    assert found[1]["post_train"].keys() == {"ts", "train:loss", "eval:loss", "eval:accuracy"}
    assert found[1]["pre_train"].keys() == {"ts", "eval:loss", "eval:accuracy"}
    assert found[0]["pre_train"].keys() == {"ts"}
    times = [entry["post_train"]["ts"] for entry in found]
    assert times == sorted(times)


def test_the_command_names_a_mistake_in_one_line(tmp_path: Path) -> None:
    files = write_federation(tmp_path, fusion="ZenoFusionHandler")
    done = CliRunner().invoke(app, ["run", *files])
    assert done.exit_code == 2
    assert "ZenoFusionHandler has no counterpart" in done.output
