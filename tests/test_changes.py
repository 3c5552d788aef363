"""Options changed between rounds: from when they hold, that history and chart tell, and that the
run repeats."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.types import Change
from fusion_nb.errors import OptionError
from fusion_nb.runs.changes import parse, written


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    defaults: dict[str, Any] = {"lr": 0.1, "rounds": 6}
    return Run(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})


def curve(run: Run) -> list[float]:
    return list(run.history["train_loss"])


def test_text_is_read_as_it_is_written() -> None:
    text = "2:lr=0.5;5:lr=0.01;5:fusion=fedprox:mu=0.1"
    assert parse(text) == {2: {"lr": "0.5"}, 5: {"lr": "0.01", "fusion": "fedprox:mu=0.1"}}
    assert written({n: Change(values) for n, values in parse(text).items()}) == text


def test_a_change_holds_from_the_next_round_and_repeats_from_the_cell(rows: Any, net: Any) -> None:
    plain = run_of(rows, net()).start().wait()
    run = run_of(rows, net())
    run.step()
    run.step()
    run.change(lr=0.5, epochs=2)
    run.change(fraction=0.5)
    run.resume().wait()
    assert curve(run)[:2] == curve(plain)[:2]
    assert curve(run)[2] != curve(plain)[2]
    assert run.history[2].changes == {"lr": 0.5, "epochs": 2, "fraction": 0.5}
    assert [len(record.cohort) for record in run.history] == [4, 4, 2, 2, 2, 2]
    assert [bool(record.changes) for record in run.history] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert "lr 0.5" in run.history.to_frame()["changes"][3]
    again = (
        run_of(rows, net(), **run.spec.model_dump(exclude={"model", "data"}, exclude_unset=True))
        .start()
        .wait()
    )
    assert curve(again) == curve(run)
    assert "--changes" in run.spec.to_cell()


def test_another_fusion_begins_anew_at_every_party(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), fusion="scaffold").start().wait()
    changed = (
        run_of(rows, net(), fusion="scaffold", changes="4:fusion=feddyn;5:fusion=scaffold")
        .start()
        .wait()
    )
    assert curve(changed)[:3] == curve(run)[:3]
    assert curve(changed)[3] != curve(run)[3]
    kept = changed._federation.parties[0].state
    assert kept["since"] == 5
    fresh = run_of(rows, net(), fusion="scaffold", rounds=1).start().wait()
    assert set(kept["fusion"]) == set(fresh._federation.parties[0].state["fusion"]), (
        "nothing of feddyn's is left"
    )


def test_a_change_in_a_run_under_way_keeps_the_round_that_it_is_in(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), rounds=3)
    run.subscribe(
        lambda run: (
            run.change(lr=0.01) if len(run.records) == 1 and not run.records[0].changes else None
        )
    )
    run.start().wait()
    assert [dict(record.changes) for record in run.history][1] == {"lr": 0.01}


def test_baselines_are_changed_with_the_run(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), baseline="central", parties=1, changes="3:lr=0.5").start().wait()
    still = run_of(rows, net(), baseline="central", parties=1).start().wait()
    assert run.history["central_loss"][:2] == still.history["central_loss"][:2]
    assert run.history["central_loss"][3] != still.history["central_loss"][3]


def test_the_chart_says_what_was_changed(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), changes="3:lr=0.5").start().wait()
    words = [text.get_text() for axis in run.plot().figure.axes for text in axis.texts]
    assert words.count("lr 0.5") == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lr": -1}, "--lr -1"),
        ({"batch_size": 2}, "lr, epochs, fraction, fusion"),
        ({"fusion": "fedavgg"}, "fedavg"),
        ({"fusion": "fda:theta=1"}, "weights of their own"),
        ({"fusion": "krum:f=2"}, "parties in a round"),
        ({"fraction": 0}, "--fraction 0"),
    ],
)
def test_what_is_refused_leaves_the_run_as_it_is(
    given: Any, says: str, rows: Any, net: Any
) -> None:
    run = run_of(rows, net())
    run.step()
    with pytest.raises(Exception, match=says):
        run.change(**given)
    assert curve(run.resume().wait()) == curve(run_of(rows, net()).start().wait())


@pytest.mark.parametrize(
    "text", ["lr=0.1", "0:", "3:lr", "3:lr=zero", "3:rounds=4", "3:fusion=nothing"]
)
def test_a_plan_is_checked_before_training(text: str, rows: Any, net: Any) -> None:
    with pytest.raises(Exception, match=r"changes|lr|rounds|nothing"):
        run_of(rows, net(), changes=text)


def test_epochs_stay_where_steps_are_counted(rows: Any, net: Any) -> None:
    with pytest.raises(OptionError, match="--local-steps"):
        run_of(rows, net(), local_steps=2).change(epochs=3)


def test_a_fusion_that_something_is_built_around_stays(rows: Any, net: Any) -> None:
    with pytest.raises(OptionError, match="--personal"):
        run_of(rows, net(), personal="ditto").change(fusion="median")


def test_a_central_doc2vec_needs_all_parties() -> None:
    from gensim.models.doc2vec import Doc2Vec

    names = {
        "model": Doc2Vec(vector_size=4, min_count=1),
        "texts": [f"a small text {i} of words" for i in range(40)],
    }
    run = Run(RunSpec(data="texts", baseline="central", parties=2), names)
    with pytest.raises(OptionError, match="whole epochs"):
        run.change(fraction=0.5)
