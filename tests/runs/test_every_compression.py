"""Every compression with every fusion, after a resume, and on every engine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.core import arithmetic, registry
from fusion_nb.core.builtin import BUILTIN
from fusion_nb.errors import FusionError

#: A share that leaves something to keep for the next round.
OPTIONS = {
    "topk": "topk:share=0.2",
    "randk": "randk:share=0.5",
    "stc": "stc:p=0.2",
    "qsgd": "qsgd:bits=4",
    "lowrank": "lowrank:rank=1",
}
COMPRESSIONS = [OPTIONS.get(name, name) for name in sorted(BUILTIN["compressions"])]
#: Rules whose messages are means of changes, so that an encoded change is a change.
AVERAGING = {
    "fedavg",
    "iter_avg",
    "fedprox",
    "scaffold",
    "feddyn",
    "fednova",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
}


def run(net: Any, rows: Any, **options: Any) -> Any:
    given = {"parties": 5, "lr": 0.1, "rounds": 2, "engine": "local", **options}
    return fusion_nb.federate(net(5, 3), rows, **given)


@pytest.mark.parametrize("fusion", sorted(BUILTIN["fusions"]))
def test_a_fusion_works_with_it_or_is_refused_by_name(net: Any, rows: Any, fusion: str) -> None:
    if fusion not in AVERAGING:
        with pytest.raises(FusionError, match=fusion):
            run(net, rows, fusion=fusion, compress="int8")
        return
    plain = run(net, rows, fusion=fusion)
    found = run(net, rows, fusion=fusion, compress="int8")
    assert found.history.last()["loss"] == pytest.approx(plain.history.last()["loss"], rel=0.05)
    assert found.history[-1].bytes_up < plain.history[-1].bytes_up


def test_no_compression_is_left_out() -> None:
    assert set(registry.names("compressions")) >= {*BUILTIN["compressions"]}


def same(a: Any, b: Any) -> None:
    assert a.history["loss"] == b.history["loss"]
    assert [r.bytes_up for r in a.history] == [r.bytes_up for r in b.history]
    assert [r.bytes_down for r in a.history] == [r.bytes_down for r in b.history]
    assert arithmetic.equal(a.weights, b.weights)


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_what_parties_kept_is_saved_with_a_run(
    net: Any, rows: Any, tmp_path: Path, compress: str
) -> None:
    options = {"compress": compress, "fraction": 0.6}
    folder = str(tmp_path / "saved")
    whole = run(net, rows, rounds=5, **options)
    run(net, rows, rounds=3, checkpoint=folder, **options)
    resumed = fusion_nb.resume(folder, model=net(5, 3), data=rows)
    same(whole, resumed.more(2).wait())


@pytest.mark.parametrize("compress", ["topk:share=0.2,down=true", "int8:down=true", "stc:p=0.3"])
def test_parties_that_were_away_are_told_what_they_missed(
    net: Any, rows: Any, tmp_path: Path, compress: str
) -> None:
    """Down messages count too: with parties away, and after a resume, the curve is the same."""
    options = {"compress": compress, "fraction": 0.4, "dropout": 0.2}
    folder = str(tmp_path / "saved")
    whole = run(net, rows, rounds=6, **options)
    run(net, rows, rounds=3, checkpoint=folder, **options)
    same(whole, fusion_nb.resume(folder, model=net(5, 3), data=rows).more(3).wait())
    assert np.isfinite(whole.history["loss"]).all()
    assert all(record.bytes_down > 0 for record in whole.history)


@pytest.mark.slow
# Ray leaves files and processes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("engine", ["process", "flower:nodes=2", "ray"])
@pytest.mark.parametrize("compress", ["topk:share=0.2", "randk:share=0.5,feedback=true", "sign"])
def test_what_parties_keep_is_the_same_on_every_engine(
    net: Any, rows: Any, engine: str, compress: str
) -> None:
    package = {"flower:nodes=2": "flwr", "ray": "ray"}.get(engine)
    if package and find_spec(package) is None:
        pytest.skip(f"needs {package}")
    options = {"compress": compress, "fraction": 0.6, "rounds": 4}
    same(run(net, rows, **options), run(net, rows, **{**options, "engine": engine}))
