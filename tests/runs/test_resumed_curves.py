"""The curve of a run that was taken up is that of one that was never interrupted, to the last
digit: for every registered component, model and engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_runs import NOT_NETWORKS, NUM_ROUNDS, Case, assert_same, cut
from small_models import MODEL_OF_FUSION

from fusion_nb.core import registry
from fusion_nb.runs.checkpoints import links, party_states

#: Rules that need another one after them, or options with which a rule does something.
FUSIONS = {
    "bucketing": "bucketing:s=2+median",
    "cmfl": "cmfl:threshold=0.5",
    "dynamic": "dynamic:threshold=0.02",
    "fda": "fda:theta=0.02",
    "lag": "lag:xi=0.5",
    "bulyan": "bulyan:f=0",
}
PERSONAL = {"fedper": "fedper:layers=3.*", "ifca": "ifca:clusters=2"}
SHARING = {"best": "best:groups=2"}
ENSEMBLES = {"distill": "distill:data=public,epochs=1"}
KEPT = {"keep_optimizer": True, "optimizer": "sgd:momentum=0.9"}


def cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for name in registry.names("fusions"):
        framework = MODEL_OF_FUSION.get(name, "torch")
        found[f"fusion {name}"] = Case({"fusion": FUSIONS.get(name, name)}, framework)
    for name in registry.names("personal"):
        found[f"personal {name}"] = Case({"personal": PERSONAL.get(name, name)})
    for name in registry.names("sharing"):
        found[f"share {name}"] = Case({"share": SHARING.get(name, name)})
    for name in registry.names("adversaries"):
        found[f"adversary {name}"] = Case({"adversary": f"{name}:1", "fusion": "median"})
    for name in (
        "lowrank",
        "qsgd",
        "stc",
        "topk",
    ):  # with a memory, with draws, both ways, at parties
        found[f"compress {name}"] = Case({"compress": name, "fraction": 0.5})
    found["secure masks"] = Case({"secure": "masks:threshold=0.6", "dropout": 0.1})
    for name in registry.names("engines"):
        if registry.missing_package("engines", name):
            continue
        text = {"process": "process:workers=1"}.get(name, name)
        kept = {} if name == "vectorized" else KEPT  # it keeps no optimizers
        found[f"engine {name}"] = Case({"engine": text, **kept}, "dense")
    found["another engine"] = Case({**KEPT}, anew={"engine": "process:workers=2"})
    found["another number of workers"] = Case(
        {"fusion": "scaffold"}, anew={"engine": "local:workers=3"}
    )
    found["process, then local"] = Case(
        {"engine": "process:workers=1", "fusion": "scaffold"},
        "dense",
        anew={"engine": "local"},
    )
    found["baselines"] = Case({"baseline": "central,local", "fraction": 0.5, **KEPT})
    found["changes"] = Case(
        {"changes": "2:lr=0.01;3:fusion=fedadam;4:fraction=0.5", "baseline": "central"}
    )
    found["faults"] = Case(
        {"dropout": 0.3, "straggler": "0.4:epochs=1", "epochs": 2, "fusion": "fednova"}
    )
    found["privacy"] = Case({"privacy": "central:clip=1,noise=2,adaptive=true"}, "dense")
    found["privacy of secret cohorts"] = Case(
        {"privacy": "central:clip=1,noise=auto:epsilon=9", "sampling": "poisson:q=0.4"}, "dense"
    )
    found["local privacy"] = Case({"privacy": "local:clip=1,noise=9", "fusion": "median"}, "dense")
    found["privacy of rows"] = Case(
        {"privacy": "rows:clip=1,noise=1", "report": "noised:noise=2"}, "dense"
    )
    found["masked adaptive privacy"] = Case(
        {"privacy": "central:clip=1,noise=2,adaptive=true", "secure": "masks:bits=28"}, "dense"
    )
    found["adam kept"] = Case({"keep_optimizer": True, "optimizer": "adam", "lr": 0.01})
    found["few evaluations"] = Case({"evaluate_every": 3, "baseline": "central,local"})
    found["keras"] = Case({"baseline": "local", "fusion": "feddyn"}, "keras")
    found["keras with adam kept"] = Case(
        {"keep_optimizer": True, "optimizer": "adam", "lr": 0.01}, "keras"
    )
    found["keras fedbn"] = Case({"personal": "fedbn"}, "keras")
    for name in NOT_NETWORKS:
        found[name] = Case({"baseline": "central,local"}, name)
    found["sklearn in processes"] = Case(
        {"engine": "process:workers=2"}, "sklearn", anew={"engine": "local"}
    )
    found["xgboost in a circle"] = Case({"fusion": "cyclic"}, "xgboost")
    found["doc2vec averaged"] = Case({"fusion": "fedavg", "baseline": "central"}, "doc2vec")
    found["doc2vec scheduled"] = Case({"schedule": "0+2,2+2"}, "doc2vec")
    return found


CASES = cases()


#: Cases that take long, and of which another one is like.
LONG = {
    "engine process",
    "keras",
    "engine flower",
    "engine ray",
    "keras with adam kept",
    "keras fedbn",
    "another engine",
    "lightgbm",
    "xgboost",
    "sklearn in processes",
}


PARAMETERS = [
    pytest.param(case, id=name, marks=pytest.mark.slow if name in LONG else ())
    for name, case in CASES.items()
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PARAMETERS)
def test_a_resumed_curve_is_that_of_a_whole_run(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    whole = case.start(folder)
    for round in (2, 3):
        cut(folder, round)
        assert_same(case.resume(folder), whole)  # the second resumes what was resumed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", registry.names("ensembles"))
def test_a_resumed_ensemble_is_that_of_a_whole_run(name: str, tmp_path: Path) -> None:
    options = {"ensemble": ENSEMBLES.get(name, name), "baseline": "local"}
    case = Case(options, is_seeded=True)
    folder = tmp_path / "saved"
    whole = case.start(folder)
    cut(folder, 1)  # `stack` has a second round
    assert_same(case.resume(folder), whole)


@pytest.mark.parametrize(
    "engine", ["local", pytest.param("process:workers=1", marks=pytest.mark.slow)]
)
def test_large_states_are_written_once_and_resumed(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_SMALL", 0)
    monkeypatch.setattr(party_states, "_MAX_FILES", 3)
    case = Case(
        {"fusion": "feddyn", "fraction": 0.5, "rounds": 8, "engine": engine, **KEPT},
        anew={"engine": "local"},
    )
    folder = tmp_path / "saved"
    whole = case.start(folder)
    files = {path.stat().st_ino: path.name for path in folder.glob("*/parties-*")}
    assert len(list(folder.glob("*/parties-*"))) > len(files)  # links of the same files
    for round in (7, 3, 1):
        cut(folder, round)
        assert_same(case.resume(folder), whole)


def test_saving_changes_no_curve(tmp_path: Path) -> None:
    case = Case({"personal": "ditto", "baseline": "central", **KEPT}, is_seeded=True)
    assert_same(case.start(tmp_path / "saved"), case.start(None))


def test_an_early_end_stays_an_end(tmp_path: Path) -> None:
    case = Case({"until": "loss < 100", "rounds": NUM_ROUNDS})
    folder = tmp_path / "saved"
    whole = case.start(folder)
    assert len(whole.history) == 1
    assert_same(case.resume(folder), whole)


def test_patience_goes_on_counting(tmp_path: Path) -> None:
    case = Case({"patience": 2, "lr": 1e-9, "rounds": 10})
    folder = tmp_path / "saved"
    whole = case.start(folder)
    assert whole.reason
    cut(folder, len(whole.history) - 1)
    assert_same(case.resume(folder), whole)


@pytest.mark.parametrize("framework", ["torch", "doc2vec"])
def test_rounds_that_were_added_are_resumed(framework: str, tmp_path: Path) -> None:
    case = Case({"until": "loss < 100"} if framework == "torch" else {}, framework)
    folder = tmp_path / "saved"
    whole = case.start(folder).more(4).wait()
    cut(folder, len(whole.history) - 2)
    assert_same(case.resume(folder), whole)


def test_rounds_are_added_after_a_resume(tmp_path: Path) -> None:
    case = Case({"fusion": "fedadam", "personal": "finetune", "fraction": 0.5, **KEPT})
    folder = tmp_path / "saved"
    whole = case.start(folder).more(3).wait()
    cut(folder, 2)
    # The checkpoint knows the rounds that were planned then.
    assert_same(case.resume(folder).more(3).wait(), whole)
