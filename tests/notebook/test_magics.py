"""`%%fusion` cells: what they train, what they show and which variables they bind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cells import CELL, fuse


class TestTraining:
    @pytest.mark.pictures
    def test_a_cell_trains_and_leaves_one_static_result(self, ip: Any) -> None:
        seen = fuse(
            ip,
            "--algorithm fedavg --data digits --parties 4 --split dirichlet:alpha=0.5 --rounds 2 "
            "--lr 0.05 --name run",
        )
        assert seen.error is None
        run = ip.ns["run"]
        assert run.status == "finished"
        assert ip.ns["_"] is run
        assert len(seen.outputs) == 1, "shown once"
        bundle = seen.outputs[0]
        assert bundle["text/plain"].startswith(
            "run: finished, 2 of 2 rounds, fedavg over 4 parties, loss "
        )
        page = bundle["text/html"]
        assert '<img alt="Loss from' in page
        assert "<style" not in page
        assert "<svg" not in page
        assert page.count('<th scope="row"') == 4
        assert len(bundle["image/png"]) > 10_000
        assert "model" in ip.ns

    def test_the_same_cell_gives_the_same_curve(self, ip: Any) -> None:
        for name in ("first", "second"):
            fuse(ip, f"--rounds 2 --name {name}")
        assert ip.ns["first"].history["loss"] == ip.ns["second"].history["loss"]
        fuse(ip, "--rounds 2 --seed 1 --name third")
        assert ip.ns["third"].history["loss"] != ip.ns["first"].history["loss"]

    def test_a_run_repeats_from_its_cell_and_from_its_file(self, ip: Any) -> None:
        fuse(
            ip,
            "--rounds 2 --fraction 0.5 --optimizer sgd:momentum=0.9 --until 'accuracy >= 0.99' "
            "--name first",
        )
        first = ip.ns["first"]
        assert (
            ip.run(first.spec.to_cell().replace("%%fusion", "%%fusion --name again")).error is None
        )
        Path("run.yaml").write_text(first.spec.to_yaml())
        assert ip.run("%fusion --config run.yaml --name from_file").error is None
        for name in ("again", "from_file"):
            assert ip.ns[name].spec == first.spec
            assert ip.ns[name].history["loss"] == first.history["loss"]

    def test_options_on_the_line_win_over_the_file(self, ip: Any) -> None:
        Path("run.yaml").write_text("rounds: 3\nlr: 1e-2\nbatch-size: 8\n")
        fuse(ip, "--config run.yaml --rounds 1")
        spec = ip.ns["run"].spec
        assert (spec.rounds, spec.lr, spec.batch_size) == (1, 0.01, 8)

    def test_a_name_in_the_namespace_and_braces_on_the_line(self, ip: Any) -> None:
        ip.run(CELL + "net, n = model, 2")
        assert ip.run("%fusion --model net --rounds {n} -p 3 -e 1 -a iter_avg").error is None
        assert ip.ns["run"].spec.rounds == 2
        assert "{n}" not in fuse(ip, body=CELL + "text = '{n}'").text
        assert ip.ns["text"] == "{n}"

    def test_runs_get_free_names(self, ip: Any) -> None:
        ip.run("run = 'mine'")
        fuse(ip)
        fuse(ip)
        assert ip.ns["run"] == "mine"
        assert {ip.ns[name].name for name in ("run_2", "run_3")} == {"run_2", "run_3"}

    def test_quiet_shows_nothing_and_background_returns_at_once(self, ip: Any) -> None:
        assert fuse(ip, "--rounds 1 --quiet").outputs == []
        seen = fuse(ip, "--rounds 30 --background --name later")
        assert seen.error is None
        assert len(ip.ns["later"].history) == 30

    def test_a_body_that_fails_trains_nothing_and_is_shown_once(self, ip: Any) -> None:
        seen = fuse(ip, body="1 / 0")
        assert type(seen.error) is ZeroDivisionError
        assert seen.text.count("ZeroDivisionError: division by zero") == 1
        assert "nothing was trained" in seen.text
        assert "run" not in ip.ns
        seen = fuse(ip, body="model = (")
        assert "can't be read" in str(seen.error)
        assert seen.text.count("SyntaxError") == 1

    def test_a_fusion_and_a_split_from_a_cell(self, ip: Any) -> None:
        ip.run(
            "import fusion_nb, numpy as np\n"
            "@fusion_nb.fusion\n"
            "def last_one(weights, updates, *, scale: float = 1.0):\n"
            "    *_, last = updates\n"
            "    return {name: (scale * array).astype(array.dtype) for name, array in "
            "last.weights.items()}\n"
            "@fusion_nb.split\n"
            "def in_order(labels, num_parties, rng):\n"
            "    return np.array_split(np.arange(len(labels)), num_parties)\n"
        )
        assert fuse(ip, "--fusion last_one:scale=0.5 --split in_order --rounds 1").error is None
        assert "last_one" in ip.run("%fusion list fusions").text

    def test_a_users_variable_can_be_loss_and_optimizer(self, ip: Any) -> None:
        body = (
            CELL + "import torch\nmy_loss = nn.CrossEntropyLoss(label_smoothing=0.1)\nMine = "
            "torch.optim.Adam\n"
        )
        assert fuse(ip, "--loss my_loss --optimizer Mine --lr 0.001 --rounds 1", body).error is None
        assert "CrossEntropyLoss (as given)" in ip.ns["run"].summary()

    def test_a_saved_model_is_read_from_its_file(self, ip: Any) -> None:
        ip.run(CELL + "import torch; torch.save(model, 'net.pt')")
        assert ip.run("%fusion --model net.pt --rounds 1 --name from_file").error is None
        assert len(ip.ns["from_file"].history) == 1


def test_a_variable_that_the_body_binds_is_not_replaced_by_the_run(ip: Any) -> None:
    body = CELL + "taken = nn.Linear(1, 1)\n"
    assert "holds Linear, not a run" in str(fuse(ip, "--rounds 1 --name taken", body).error)
    fuse(ip, "--rounds 1", CELL + "run = {'mine': 1}\n")
    assert ip.ns["run"] == {"mine": 1}
    assert ip.ns["run_2"].status == "finished"


def test_a_body_may_wait_for_a_run_on_a_dataset(ip: Any) -> None:
    ip.run(
        "import numpy as np\n"
        "class Items:\n"
        "    def __len__(self): return 400\n"
        "    def __getitem__(self, i): return np.random.rand(784).astype('float32'), i % 10\n"
        "items = Items()\n" + CELL
    )
    assert ip.run("%fusion --data items --rounds 8 --background --name first").error is None
    assert (
        fuse(ip, "--rounds 1 --name second", CELL + "rounds_before = len(first.history)\n").error
        is None
    )
    assert ip.ns["rounds_before"] == 8


def test_a_body_that_binds_no_model_is_refused(ip: Any) -> None:
    assert ip.run(f"%%fusion --rounds 1\n{CELL}").error is None
    seen = ip.run(f"%%fusion --rounds 1\n{CELL.replace('model =', 'net =')}")
    assert "the cell's body makes net" in str(seen.error)
    assert (
        ip.run(f"%%fusion --rounds 1 --model net\n{CELL.replace('model =', 'net =')}").error is None
    )


def test_the_seed_fixes_random_numbers_of_the_body_and_keeps_the_users_state(
    ip: Any, tmp_path: Path
) -> None:
    body = (
        CELL + "import numpy as np, random\ndrawn = (np.random.rand(), random.random(), "
        "model[1].weight[0, 0].item())\n"
    )
    ip.run("import numpy as np, random; np.random.seed(5); random.seed(5)")
    seen = fuse(ip, "--rounds 1 --seed 3", body)
    assert seen.error is None, seen.text
    first = ip.ns["drawn"]
    after = ip.run("(np.random.rand(), random.random())").result
    fuse(ip, "--rounds 1 --seed 3", body)
    assert ip.ns["drawn"] == first
    ip.run("np.random.seed(5); random.seed(5)")
    assert ip.run("(np.random.rand(), random.random())").result == after
