"""Cells of a notebook that train scikit-learn's estimators and boosted trees, and take them up
again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn_samples import classes

BODIES = {
    "logistic": "from sklearn.linear_model import LogisticRegression\nmodel = LogisticRegression()",
    "bayes": "from sklearn.naive_bayes import GaussianNB\nmodel = GaussianNB()",
    "network": "from sklearn.neural_network import MLPClassifier\nmodel = MLPClassifier(6)",
    "xgboost": "from xgboost import XGBClassifier\nmodel = XGBClassifier(max_depth=2)",
    "lightgbm": "from lightgbm import LGBMClassifier\nmodel = LGBMClassifier(verbosity=-1)",
}


def frame() -> Any:
    x, y = classes()
    names = np.array(["calm", "mild", "severe"])[y]
    return pandas.DataFrame(x, columns=list("abcde")).assign(
        outcome=names, site=np.array(["north", "south", "west"])[np.arange(240) // 80]
    )


#: Those that others stand for where time is short.
LONG = {"network", "lightgbm"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in BODIES],
)
class TestCells:
    @pytest.fixture(autouse=True)
    def _needs(self, name: str) -> None:
        if name in ("xgboost", "lightgbm"):
            pytest.importorskip(name)

    def test_a_cell_trains_it(self, ip: Any, name: str) -> None:
        ip.ns["patients"] = frame()
        seen = ip.run(
            "%%fusion --data patients --label outcome --split by_key:site --rounds 2\n"
            + BODIES[name]
        )
        assert seen.error is None, seen.text
        run = ip.ns["run"]
        assert run.status == "finished"
        assert run.classes == ("calm", "mild", "severe")
        assert set(run.history[-1].metrics) >= {"accuracy", "loss"}
        assert len(run.parties) == 3

    def test_the_seed_fixes_first_weights(self, ip: Any, name: str) -> None:
        ip.ns["rows"] = classes()
        losses = []
        for _ in range(2):
            assert ip.run(f"%%fusion --data rows --rounds 2 --seed 4\n{BODIES[name]}").error is None
            losses.append(ip.ns["run"].history["loss"])
            ip.run("import numpy\nnumpy.random.rand(3)")
        assert losses[0] == losses[1]

    def test_a_saved_run_is_taken_up_again(self, ip: Any, name: str) -> None:
        ip.ns["rows"] = classes()
        line = "--data rows --rounds 3 --checkpoint saved"
        assert ip.run(f"%%fusion {line}:keep=9\n{BODIES[name]}").error is None
        whole = ip.ns["run"].history["loss"]
        rounds = sorted(path for path in Path("saved").glob("round-*") if path.is_dir())
        assert not [path for path in Path("saved").rglob("*") if path.suffix in (".pkl", ".joblib")]
        assert rounds
        import shutil

        shutil.rmtree(rounds[-1])
        seen = ip.run("%fusion resume saved")
        assert seen.error is None, seen.text
        assert ip.ns["run"].history["loss"] == whole


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "from sklearn.ensemble import RandomForestClassifier\nmodel = RandomForestClassifier()",
            "XGBClassifier",
        ),
        ("from sklearn.svm import SVC\nmodel = SVC()", "SGDClassifier"),
        (
            "from sklearn.naive_bayes import GaussianNB\nmodel = GaussianNB()\n#",
            "fusion of a GaussianNB is sum",
        ),
    ],
)
def test_a_mistake_is_one_line(ip: Any, body: str, said: str) -> None:
    ip.ns["rows"] = classes()
    line = "--fusion fedavg" if "Gaussian" in body else ""
    seen = ip.run(f"%%fusion --data rows {line}\n{body}")
    assert seen.error is not None
    assert said in str(seen.error)
    assert "Traceback" not in seen.text
