"""Changes between rounds: when they hold, how they are recorded, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.protocols import Change
from fusion_nb.errors import OptionError
from fusion_nb.runs.change_text import parse, to_text


@pytest.fixture
def of_six(run_of: Any) -> Callable[..., Run]:
    """A maker of runs of six rounds."""

    def make(model: Any, **options: Any) -> Run:
        return run_of(model, **{"rounds": 6} | options)

    return make


def curve(run: Run) -> list[float]:
    return list(run.history["train_loss"])


def test_text_is_read_as_it_is_written() -> None:
    text = "2:lr=0.5;5:lr=0.01;5:fusion=fedprox:mu=0.1"
    assert parse(text) == {2: {"lr": "0.5"}, 5: {"lr": "0.01", "fusion": "fedprox:mu=0.1"}}
    assert to_text({n: Change(values) for n, values in parse(text).items()}) == text


def test_a_change_holds_from_the_next_round_and_repeats_from_the_cell(
    of_six: Any, net: Any
) -> None:
    plain = of_six(net()).start().wait()
    run = of_six(net())
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
        of_six(net(), **run.spec.model_dump(exclude={"model", "data"}, exclude_unset=True))
        .start()
        .wait()
    )
    assert curve(again) == curve(run)
    assert "--changes" in run.spec.to_cell()


def test_another_fusion_begins_anew_at_every_party(of_six: Any, net: Any) -> None:
    run = of_six(net(), fusion="scaffold").start().wait()
    changed = (
        of_six(net(), fusion="scaffold", changes="4:fusion=feddyn;5:fusion=scaffold").start().wait()
    )
    assert curve(changed)[:3] == curve(run)[:3]
    assert curve(changed)[3] != curve(run)[3]
    kept = changed.federation.parties[0].state
    assert kept["since"] == 5
    fresh = of_six(net(), fusion="scaffold", rounds=1).start().wait()
    assert set(kept["fusion"]) == set(fresh.federation.parties[0].state["fusion"]), (
        "nothing of feddyn's is left"
    )


def test_a_change_in_a_run_under_way_keeps_the_round_that_it_is_in(of_six: Any, net: Any) -> None:
    run = of_six(net(), rounds=3)
    run.subscribe(
        lambda run: (
            run.change(lr=0.01) if len(run.records) == 1 and not run.records[0].changes else None
        )
    )
    run.start().wait()
    assert [dict(record.changes) for record in run.history][1] == {"lr": 0.01}


def test_baselines_are_changed_with_the_run(of_six: Any, net: Any) -> None:
    run = of_six(net(), baseline="central", parties=1, changes="3:lr=0.5").start().wait()
    still = of_six(net(), baseline="central", parties=1).start().wait()
    assert run.history["central_loss"][:2] == still.history["central_loss"][:2]
    assert run.history["central_loss"][3] != still.history["central_loss"][3]


def test_the_chart_says_what_was_changed(of_six: Any, net: Any) -> None:
    run = of_six(net(), changes="3:lr=0.5").start().wait()
    words = [text.get_text() for axis in run.plot().figure.axes for text in axis.texts]
    assert words.count("lr 0.5") == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lr": -1}, r"^lr=-1 is not allowed"),
        ({"batch_size": 2}, "lr, epochs, fraction, fusion"),
        ({"fusion": "fedavgg"}, "fedavg"),
        ({"fusion": "fda:theta=1"}, "weights of their own"),
        ({"fusion": "krum:f=2"}, "parties in a round"),
        ({"fraction": 0}, r"^fraction=0 is not allowed"),
    ],
)
def test_a_change_that_is_refused_leaves_the_run_as_it_is(
    given: Any, says: str, of_six: Any, net: Any
) -> None:
    run = of_six(net())
    run.step()
    with pytest.raises(Exception, match=says):
        run.change(**given)
    assert curve(run.resume().wait()) == curve(of_six(net()).start().wait())


@pytest.mark.parametrize(
    "text", ["lr=0.1", "0:", "3:lr", "3:lr=zero", "3:rounds=4", "3:fusion=nothing"]
)
def test_a_plan_is_checked_before_training(text: str, of_six: Any, net: Any) -> None:
    with pytest.raises(Exception, match=r"changes|lr|rounds|nothing"):
        of_six(net(), changes=text)


def test_epochs_stay_where_steps_are_counted(of_six: Any, net: Any) -> None:
    with pytest.raises(OptionError, match="local_steps="):
        of_six(net(), local_steps=2).change(epochs=3)


def test_a_fusion_that_something_is_built_around_stays(of_six: Any, net: Any) -> None:
    with pytest.raises(OptionError, match="personal="):
        of_six(net(), personal="ditto").change(fusion="median")


def test_a_central_doc2vec_needs_all_parties() -> None:
    from gensim.models.doc2vec import Doc2Vec

    names = {
        "model": Doc2Vec(vector_size=4, min_count=1),
        "texts": [f"a small text {i} of words" for i in range(40)],
    }
    run = Run(RunSpec(data="texts", baseline="central", parties=2), names)
    with pytest.raises(OptionError, match="whole epochs"):
        run.change(fraction=0.5)
