"""The cell and the line: what they run, what they say, what they complete, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CELL

from fusion_nb import RunSpec
from fusion_nb.errors import FusionError
from fusion_nb.notebook import options
from fusion_nb.notebook.live import LiveView, Throttle, status_html
from fusion_nb.runs.run import Run


def fuse(ip: Any, line: str = "--rounds 1", body: str = CELL) -> Any:
    return ip.run(f"%%fusion {line}\n{body}")


class TestTraining:
    def test_the_story_of_the_readme(self, ip: Any) -> None:
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

    def test_quiet_and_background(self, ip: Any) -> None:
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


class TestCommands:
    @pytest.fixture(autouse=True)
    def _one_run(self, ip: Any) -> None:
        fuse(ip, "--rounds 2 --name first")

    def test_status_runs_more_stop(self, ip: Any) -> None:
        assert "first: finished, round 2 of 2" in ip.run("%fusion status").text
        assert ip.run("%fusion more first --rounds 2").error is None
        assert len(ip.ns["first"].history) == 4
        fuse(ip, "--rounds 100000 --background --name long")
        assert "long: paused" in ip.run("%fusion pause").text
        assert "long: running" in ip.run("%fusion resume long").text
        assert "long: stopped" in ip.run("%fusion stop").text
        listed = ip.run("%fusion runs").text
        assert "first: finished" in listed
        assert "long: stopped" in listed

    def test_compare_and_split_are_pictures_with_words(self, ip: Any) -> None:
        fuse(ip, "--rounds 2 --seed 5 --name second")
        chart = ip.run("%fusion compare first second").result
        assert chart.alt.startswith("first: Loss from")
        assert "second: Loss from" in chart.alt
        assert chart.png != ip.run("%fusion compare first").result.png
        assert (
            ip.run("%fusion split --parties 3 --split shards").result.alt
            == "3 parties with 478 to 480 rows each, and 10 classes"
        )

    def test_export(self, ip: Any) -> None:
        assert (
            "model.safetensors"
            in ip.run("%fusion export first fused --format pt,safetensors --which best").text
        )
        assert "already exists" in ip.run("%fusion export fused").text
        assert ip.run("%fusion export fused --overwrite").error is None

    def test_list_and_help(self, ip: Any) -> None:
        text = ip.run("%fusion list").text
        assert all(name in text for name in ("fedavg", "dirichlet", "digits", "torch", "local"))
        assert "alpha: float, > 0, default 0.5" in ip.run("%fusion help dirichlet").text
        assert "--rounds" in ip.run("%fusion help more").text
        for line in ("%fusion", "%fusion help"):
            text = ip.run(line).text
            assert all(
                f"--{name.replace('_', '-')}" in text
                for name in RunSpec.model_fields
                if name != "code"
            )


def test_names_that_the_body_takes_are_left_alone(ip: Any) -> None:
    body = CELL + "taken = nn.Linear(1, 1)\n"
    assert "holds Linear, not a run" in str(fuse(ip, "--rounds 1 --name taken", body).error)
    fuse(ip, "--rounds 1", CELL + "run = {'mine': 1}\n")
    assert ip.ns["run"] == {"mine": 1}
    assert ip.ns["run_2"].status == "finished"


def test_a_run_whose_variable_is_gone_is_still_reached(ip: Any) -> None:
    fuse(ip, "--rounds 100000 --background")
    ip.run("del run")
    fuse(ip, "--rounds 1")
    listed = ip.run("%fusion runs").text
    assert "run: running" in listed
    assert "run_2: finished" in listed
    assert "run: stopped" in ip.run("%fusion stop run").text


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


def test_help_on_options_and_aliases_in_files(ip: Any) -> None:
    for line in ("%fusion help --rounds", "%fusion help rounds", "%fusion help -r"):
        assert "--rounds, -r" in ip.run(line).text
    Path("their.yaml").write_text("clients: 3\nalgorithm: iter_avg\nuntil:\nrounds: 1\n")
    fuse(ip, "--config their.yaml")
    assert (ip.ns["run"].spec.parties, ip.ns["run"].spec.fusion) == (3, "iter_avg")


def test_more_for_a_held_run_is_taken_once(ip: Any) -> None:
    fuse(ip, "--rounds 100000 --background --name held")
    ip.run("%fusion pause")
    seen = ip.run("%fusion more held --rounds 5")
    assert seen.error is None
    assert "held: paused" in seen.text
    assert ip.ns["held"].planned == 100005
    ip.run("%fusion stop")


def test_a_model_of_another_name_is_not_passed_over(ip: Any) -> None:
    assert ip.run(f"%%fusion --rounds 1\n{CELL}").error is None
    seen = ip.run(f"%%fusion --rounds 1\n{CELL.replace('model =', 'net =')}")
    assert "the cell's body makes net" in str(seen.error)
    assert (
        ip.run(f"%%fusion --rounds 1 --model net\n{CELL.replace('model =', 'net =')}").error is None
    )


BAD = {
    "--rouns 3": "did you mean '--rounds'",
    "--rounds 0": "give a whole number >= 1",
    "--rounds 1.5": "give a whole number",
    "--rounds": "expected one argument",
    "--lr -0.1": "give a number > 0",
    "--lr nan": "--lr nan is not allowed",
    "--lr inf": "--lr inf is not allowed",
    "--fraction 1.5": "give a number > 0 and <= 1",
    "--seed -1": "give a whole number >= 0",
    "--parties 100000": "only 1437 rows",
    "--split dirichlt": "did you mean 'dirichlet'",
    "--split dirichlet:alpah=1": "did you mean 'alpha'",
    "--fusion fedavgg": "did you mean 'fedavg'",
    "--engine lokal": "did you mean 'local'",
    "--optimizer adamm": "did you mean 'adam'",
    "--loss crossentropy": "did you mean 'cross_entropy'",
    "--device gpu": "there is no device 'gpu'",
    "--model modell": "did you mean 'model'",
    "--model gone.pt": "no file gone.pt",
    "--data digit": "did you mean 'digits'",
    "--data gone.npz": "no file gone.npz",
    "--data objects.npz": "could run code",
    "--data broken.npz": "can't be read",
    "--data flat": "does not take rows of shape (3,)",
    "--data many": "10 outputs, but labels run from 0 to 11",
    "--until 'acc > 1'": "names the metric 'acc'",
    "--until high": "can't read 'high'",
    "--monitor acc": "did you mean 'accuracy'",
    "--name not-a-name": "can't name a variable",
    "--name print": "can't name a variable",
    "--name class": "can't name a variable",
    "--name model": "holds Sequential, not a run",
    "--seed 100000000000000000000": "give a whole number >= 0",
    "--data npz": "needs a file",
    "--until accuracy >= 0.9": "stands alone on the line",
    "stop a b": "does not know what 'b' is for",
    "--config gone.yaml": "can't be read",
    "--config bad.yaml": "there is no option 'round'",
    "'unclosed": "a quote is not closed",
    "stat": "did you mean 'status'",
    "status --rounds 3": "takes no --rounds",
    "runs first": "does not know what 'first' is for",
    "status nobody": "no run is called 'nobody'",
    "export": "needs a folder",
    "help dirichlt": "did you mean 'dirichlet'",
    "list fusion": "did you mean 'fusions'",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_with_a_hint_and_costs_nothing(ip: Any, line: str) -> None:
    Path("broken.npz").write_bytes(b"nonsense")
    Path("bad.yaml").write_text("round: 3\n")
    np.savez("objects.npz", x_train=np.array([[1], [1, 2]], dtype=object), y_train=np.zeros(2))
    ip.ns["flat"] = (np.zeros((12, 3), dtype=np.float32), np.arange(12) % 10)
    ip.ns["many"] = (np.zeros((48, 1, 28, 28), dtype=np.float32), np.arange(48) % 12)
    ip.run(CELL)
    seen = ip.run(f"%fusion {line}")
    assert isinstance(seen.error, FusionError), seen.text
    assert BAD[line] in str(seen.error)
    assert seen.error.hint
    shown = [text for text in seen.text.splitlines() if text.strip()]
    assert len(shown) == 2
    assert "Traceback" not in seen.text
    assert "run" not in ip.ns
    assert not seen.outputs


def test_a_command_takes_no_cell_and_a_run_must_exist(ip: Any) -> None:
    assert "takes no cell" in str(ip.run("%%fusion status\nx = 1").error)
    assert "no run yet" in str(ip.run("%fusion stop").error)
    assert "no run to compare" in str(ip.run("%fusion compare").error)


def test_a_model_without_its_cell_names_what_is_there(ip: Any) -> None:
    ip.run(CELL + "net = model; del model")
    assert "models here: net" in str(ip.run("%fusion").error or ip.run("%fusion --rounds 1").error)


def test_divergence_keeps_the_kernel_and_says_round_and_party(ip: Any) -> None:
    seen = fuse(ip, "--lr 1e20 --rounds 3")
    assert "party 1 became" in str(seen.error)
    assert "in round 1" in str(seen.error)
    assert ip.ns["run"].status == "failed"
    assert "failed" in ip.run("run").text


class TestLine:
    def test_comments_quotes_and_equal_signs(self) -> None:
        line = options.read('--rounds=3 --until "accuracy >= 0.9" # don\'t train longer')
        assert line.options == {"rounds": "3", "until": "accuracy >= 0.9"}
        assert options.read("run --rounds 3").command == "run"
        assert options.read("export a b --overwrite").words == ["a", "b"]

    def test_every_field_has_an_option_and_a_meaning(self) -> None:
        spelled = set(options.names().values())
        assert spelled == {*RunSpec.model_fields, *options.OWN} - {"code"}
        assert all(options.meaning(name) for name in spelled)

    def test_every_command_is_there(self) -> None:
        from fusion_nb.notebook.magics import FusionMagics

        assert all(hasattr(FusionMagics, f"_{command}") for command in options.COMMANDS)


class TestCompletion:
    @pytest.mark.parametrize(
        ("text", "offered"),
        [
            ("%%fusion --spl", ["--split"]),
            ("%%fusion --split dir", ["dirichlet"]),
            ("%%fusion --split dirichlet:al", ["dirichlet:alpha="]),
            ("%fusion --split shards:", ["shards:per_party="]),
            ("%fusion --algorithm iter", ["iter_avg"]),
            ("%fusion sta", ["status"]),
            ("%fusion --model ", ["model"]),
            ("%fusion --data ro", ["rows"]),
            ("%fusion --device c", ["cpu", "cuda"]),
            ("%fusion export first --format p", ["pt", "pt2"]),
            ("%fusion export fi", ["first"]),
            ("%fusion export --whi", ["--which"]),
            ("%fusion export a --which ", ["last", "best"]),
            ("%fusion help diri", ["dirichlet"]),
            ("%fusion list spl", ["splits"]),
        ],
    )
    def test_only_what_fits_is_offered(self, ip: Any, text: str, offered: list[str]) -> None:
        from IPython.core.completer import provisionalcompleter

        fuse(ip, "--rounds 1 --name first")
        ip.ns["rows"] = (np.zeros((2, 2)), np.zeros(2))
        with provisionalcompleter():
            found = list(ip.shell.Completer.completions(text, len(text)))
        assert [completion.text for completion in found] == offered
        assert all(
            text[completion.start :] == text[completion.start : completion.end]
            for completion in found
        )

    def test_the_body_is_left_to_python(self, ip: Any) -> None:
        from IPython.core.completer import provisionalcompleter

        text = "%%fusion --rounds 1\nimport os; os.getc"
        with provisionalcompleter():
            found = [
                completion.text for completion in ip.shell.Completer.completions(text, len(text))
            ]
        assert any("getcwd" in completion for completion in found)

    def test_it_goes_with_the_extension(self, ip: Any) -> None:
        count = len(ip.shell.Completer.custom_matchers)
        ip.run("%unload_ext fusion_nb")
        assert len(ip.shell.Completer.custom_matchers) == count - 1
        assert "fusion" not in ip.shell.magics_manager.magics["cell"]
        ip.run("%load_ext fusion_nb")
        ip.run("%load_ext fusion_nb")
        assert len(ip.shell.Completer.custom_matchers) == count


class TestLiveView:
    def test_drawing_takes_its_share_of_the_time(self) -> None:
        now, drawn = [0.0], []
        throttle = Throttle(share=0.05, pause=0.1, clock=lambda: now[0])

        def draw() -> None:
            drawn.append(now[0])
            now[0] += 0.1

        while now[0] < 100:
            throttle(draw)
            now[0] += 0.01
        assert 0.04 < len(drawn) * 0.1 / 100 <= 0.05

    def test_widgets_while_it_trains_and_a_static_result_after(
        self, ip: Any, rows: Any, net: Any, monkeypatch: Any
    ) -> None:
        import IPython.display

        shown: list[dict[str, Any]] = []

        class Handle:
            def update(self, bundle: dict[str, Any], raw: bool) -> None:
                shown.append(bundle)

        def display(bundle: dict[str, Any], **kwargs: Any) -> Handle:
            shown.append(bundle)
            return Handle()

        monkeypatch.setattr(IPython.display, "display", display)
        run = Run(RunSpec(data="data", lr=0.1, rounds=3), {"model": net(), "data": rows})
        view = LiveView(run, widgets=True)
        view._throttle = view._text_throttle = Throttle(share=1, pause=0)
        states: list[str] = []
        view._status.observe(lambda change: states.append(change["new"]), "value")
        images: list[str] = []
        view._chart.observe(lambda change: images.append(change["new"]), "value")
        run.start().wait()
        assert "application/vnd.jupyter.widget-view+json" in shown[0]
        assert set(shown[-1]) == {"text/html", "image/png", "text/plain"}
        assert len(shown) == 2
        assert any("round 2 of 3" in state and "left" in state for state in states)
        assert len(images) >= 2
        assert all('<img alt="' in image for image in images)

    def test_the_status_is_announced(self, rows: Any, net: Any) -> None:
        run = Run(RunSpec(data="data", lr=0.1), {"model": net(), "data": rows})
        text = status_html(run)
        assert '<div role="status" aria-live="polite">' in text
        assert "run: ready, round 0 of 10" in text
        assert "loss: cross_entropy" in text


def test_a_thousand_parties_fit_a_chart_and_a_table(net: Any) -> None:
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(3000, 5)).astype(np.float32), rng.integers(0, 3, 3000))
    run = (
        Run(
            RunSpec(data="data", parties=1000, fraction=0.02, rounds=2),
            {"model": net(), "data": data},
        )
        .start()
        .wait()
    )
    bundle = run._repr_mimebundle_()
    assert "and 990 more" in bundle["text/html"]
    assert len(run.summary().splitlines()) < 20
    assert len(run.parties.to_frame()) == 1000


def test_what_the_body_draws_comes_from_the_seed_and_the_users_state_stays(
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
