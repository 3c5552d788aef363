"""The audit of a run: three attacks on its own simulated parties, and how far they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.party import Party
from fusion_nb.core.types import Update
from fusion_nb.errors import FusionError, OptionError, RunError, nearest
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.reporting.charts.pictures import as_picture, pictures
from fusion_nb.runs.audit import dense_layer, gradients, membership, subjects, words
from fusion_nb.runs.audit.report import Audit, Finding
from fusion_nb.runs.audit.sums import HIDDEN, NOT_HIDDEN, companions
from fusion_nb.runs.audit.updates import AGGREGATOR, EVERYONE, Observed, observe, trained_on
from fusion_nb.runs.run import Run

#: Rows whose labels are inferred one by one, at most.
_MOST_LABELS = 20
#: A correlation with the true row from which on it is told to be rebuilt, and one up to which
#: nothing of it is.
_REBUILT, _NOTHING = 0.9, 0.3
#: Largest error of a row among several that counts as rebuilt, as a share of the range of numbers.
_CLOSE = 0.05


def audit(run: Run, party: str = "", rows: int = 1) -> Audit:
    """Attack a run's own simulated parties, and return what their updates and the model give away.

    Three attacks: to rebuild rows of a party from its update, to infer their labels, and to tell
    training rows of all parties from others by the fused model's losses. With privacy or masks,
    each is measured for those who see no more than these let through.

    party: whose update is attacked; by default the first that trains
    rows:  in its update; of one row a dense first layer gives away all
    Raises RunError for a run whose rows are not in this kernel, or are of a form that no attack is
    about. Of a model that only some attacks are about, notes say which were left out, and why.
    """
    subjects.check_run(run)
    run.training.settle()
    auditor = _Auditor(run, _chosen(run, party), rows)
    found, notes = list[Finding](), list[str]()
    for attack in auditor.attacks():
        try:
            found += attack()
        except FusionError as error:
            notes.append(f"not measured: {error.message}")
    notes = [*dict.fromkeys(notes + auditor.notes)]
    if auditor.others:
        notes += [HIDDEN, NOT_HIDDEN]
    elif EVERYONE in auditor.rebuilt:
        notes.append(
            "central privacy trusts the aggregator, which sees single updates; local does not"
        )
    return Audit(
        f"audit of {run.name}: only of parties that this kernel simulates, whose true rows are "
        "here to compare with",
        found,
        notes,
        auditor.row,
        auditor.rebuilt,
        auditor.chart(),
    )


def _chosen(run: Run, name: str) -> Party:
    parties = [party for party in run.federation.parties if party.trains]
    found = next((party for party in parties if party.id == (name or parties[0].id)), None)
    if found is None:
        ids = [party.id for party in parties]
        raise OptionError(
            f"there is no party {name!r} that trains",
            f"{nearest(name, ids)}there are: {', '.join(ids[:10])}",
        )
    return found


def _predicts(model: object) -> bool:
    return isinstance(model, PredictsRows)


class _Auditor:
    """The attacks on one party of a run; what they rebuilt is kept."""

    def __init__(self, run: Run, party: Party, num_rows: int) -> None:
        if num_rows < 1 or num_rows > party.num_examples:
            raise OptionError(
                f"rows={num_rows} is not allowed",
                f"give a whole number from 1 to {party.num_examples}, the rows of {party.id}",
            )
        own = subjects.rows_of(party)
        self._run, self._party, self._num_rows = run, party, num_rows
        #: The parties whose updates are in one sum with the party's, where there are masks.
        self.others = companions(run.federation, party)
        schema = run.prepared.resolved.data.schema
        # As the model sees them.
        self._x = np.asarray(own, np.float64) / schema.rows.scale
        self._are_words = words.are_words(own, schema.rows.scale)
        self._range = float(self._x.max() - self._x.min()) or 1.0
        self.row: np.ndarray | None = self._x[0]
        self.rebuilt: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def attacks(self) -> Sequence[Callable[[], Iterable[Finding]]]:
        """Return the attacks that make sense for the model; note why others don't."""
        model: Any = self._run.federation.model
        if why := subjects.obstacle(model):
            self.notes.append(f"not measured: {why}")
            return (self.members,)
        return (self.rebuild, self.labels, self.members)

    def rebuild(self) -> Iterator[Finding]:
        """Rebuild rows from an update of the party."""
        observed = observe(
            self._run.federation,
            self._party,
            range(self._num_rows),
            beside=self._beside(self._num_rows),
        )
        for who, after in observed.after.items():
            if self._num_rows > 1:
                yield self._several(who, observed, after)
                continue
            if self._are_words and (told := self._words(who, observed, after)) is not None:
                yield told
                continue
            found, how = self._one(observed, after)
            if found is None:
                self.notes.append(f"not measured: {how}")
                return
            self.rebuilt[who] = found.reshape(self._x.shape[1:])
            yield self._judged(who, how, found.ravel())

    def _one(self, observed: Observed, after: Any) -> tuple[np.ndarray | None, str]:
        """Return one row as it can be rebuilt, and how; or None and why not."""
        if self.others:
            found = self._nearest(observed, after)
        else:
            found = dense_layer.first_row(observed.before, after, self._x[0].size)
        if found is not None:
            return found, "by division in its first layer"
        if self._are_words:
            return None, "rows of whole numbers are rebuilt from a table of words or a dense layer"
        inferred = self._label(observed.before, after)
        return gradients.rebuild(
            self._run,
            observed.before,
            after,
            self._x.shape[1:],
            0 if inferred is None else inferred,
            (float(self._x.min()), float(self._x.max())),
        )

    def _nearest(self, observed: Observed, after: Any) -> np.ndarray | None:
        """Return the neuron's mixture of rows that is nearest to the row; the worst case."""
        true = self._x[0].ravel()
        found = dense_layer.candidates(observed.before, after, true.size)
        return found[np.abs(found - true).max(1).argmin()] if len(found) else None

    def _beside(self, num_rows: int) -> list[Update]:
        """Return the updates that are in one sum with the party's, each of as many rows."""
        return [
            trained_on(self._run.federation, other, range(min(num_rows, other.num_examples)))
            for other in self.others
        ]

    def _source(self, who: str, what: str) -> str:
        """Return the update that an observer has, in words."""
        if not self.others or who != AGGREGATOR:
            return what
        return f"the sum of {len(self.others) + 1} parties' updates, of as many rows each"

    def _judged(self, who: str, how: str, found: np.ndarray) -> Finding:
        true = self._x[0].ravel()
        error = float(np.abs(found - true).max()) / self._range
        alike = float(np.corrcoef(found, true)[0, 1]) if found.std() and true.std() else 0.0
        verdict = "the row is there" if alike >= _REBUILT else "parts of the row are there"
        verdict = "nothing of the row is left" if alike < _NOTHING else verdict
        source = self._source(who, "its update")
        return Finding(
            "row",
            who,
            "largest error as a share of the range",
            error,
            f"a row of {self._party.id}, rebuilt by {who} from {source}, {how}: largest error "
            f"{error:.2g} of the range of numbers, correlation {alike:.2f}: {verdict}",
            chance=1.0,
        )

    def _words(self, who: str, observed: Observed, after: Any) -> Finding | None:
        """Return how many words of the row are read off an update; None for a model without."""
        rows = self._x.reshape(len(self._x), -1).astype(int)
        found = words.inferred(observed.before, after, rows)
        if found is None:
            return None
        (guessed, size), true = found, np.unique(rows[0])
        right = len(np.intersect1d(guessed, true))
        low, high = membership.share_interval(right, len(true))
        return Finding(
            "words",
            who,
            "share of words that are right",
            right / len(true),
            f"words of a row of {self._party.id}, read by {who} from "
            f"{self._source(who, 'its update')}, by the entries of the first table that it moved "
            f"most: {right} of {len(true)} right, by chance {100 * len(true) / size:.0f} %",
            low,
            high,
            len(true) / size,
        )

    def _several(self, who: str, observed: Observed, after: Any) -> Finding:
        true = self._x[: self._num_rows].reshape(self._num_rows, -1)
        found = dense_layer.candidates(observed.before, after, true.shape[1])
        if not len(found):
            raise RunError(
                "rows of an update of several are rebuilt from a dense first layer only, and "
                "this model has none",
                "audit with one row",
            )
        errors = [float(np.abs(found - row).max(1).min()) / self._range for row in true]
        right = sum(error < _CLOSE for error in errors)
        low, high = membership.share_interval(right, len(errors))
        source = self._source(who, "one update of all of them")
        return Finding(
            "rows",
            who,
            f"share of rows with an error below {_CLOSE:g}",
            right / len(errors),
            f"{right} of {len(errors)} rows of {self._party.id} rebuilt by {who} from {source} "
            f"(largest error below {_CLOSE:g} of the range)",
            low,
            high,
        )

    def labels(self) -> Iterator[Finding]:
        """Infer the labels of single rows, each from an update of its own."""
        count = min(_MOST_LABELS, self._party.num_examples)
        num_classes = self._num_classes()
        if not num_classes:
            self.notes.append("not measured: labels that are no classes are not inferred")
            return
        classes = self._classes()
        right: dict[str, int] = {}
        beside = self._beside(1)
        for i in range(count):
            observed = observe(self._run.federation, self._party, [i], i + 1, beside)
            for who, after in observed.after.items():
                inferred = self._label(observed.before, after)
                if inferred is None:
                    self.notes.append(
                        "not measured: the last layer has no bias from which a label is read"
                    )
                    return
                right[who] = right.get(who, 0) + (inferred == classes[i])
        for who, hits in right.items():
            low, high = membership.share_interval(hits, count)
            source = self._source(who, "")
            of = f" in {source}" if source else ""
            yield Finding(
                "label",
                who,
                "share of labels that are right",
                hits / count,
                f"labels of single rows, inferred by {who} from the change of the last bias{of}: "
                f"{hits} of {count} right ({100 * low:.0f} to {100 * high:.0f} %), by chance "
                f"{100 / num_classes:.0f} %",
                low,
                high,
                1 / num_classes,
            )

    def members(self) -> Iterator[Finding]:
        """Tell training rows from others by the losses of the fused model."""
        run, federation = self._run, self._run.federation
        model: Any = federation.model.clone()
        if not _predicts(model):
            raise RunError(f"a {federation.model.kind} predicts no rows", "use another model")
        if not run.records:
            raise RunError(f"{run.name} has no whole round", "train it first")
        model.set_weights(run.weights)
        seed = federation.config.seed
        tests = [run.prepared.resolved.test] if run.prepared.resolved.test is not None else []
        tests = tests or [party.test for party in federation.parties if party.num_test]
        members, others = (
            np.concatenate([membership.row_losses(model, part, seed) for part in parts])
            for parts in ([p.train for p in federation.parties if p.trains], tests)
        )
        found = membership.attack(members, others)
        verdict = "better than guessing" if found.low > 0.5 else "no better than guessing"
        yield Finding(
            "membership",
            "who has the fused model",
            "AUC",
            found.auc,
            f"training rows told from others by the fused model's loss: AUC {found.auc:.3f} "
            f"({found.low:.3f} to {found.high:.3f}; {found.members} and {found.others} rows): "
            f"{verdict}",
            found.low,
            found.high,
            0.5,
        )

    def chart(self) -> Any:
        """Return the row and what was rebuilt of it as pictures, where rows are pictures."""
        row = None if self.row is None else as_picture(self.row)
        if row is None or not self.rebuilt:
            return None
        images = {f"a row of {self._party.id}": row}
        for who, found in self.rebuilt.items():
            image = as_picture(found)
            assert image is not None
            images[f"by {who}"] = image
        what = "a sum of updates" if self.others else "its update"
        return pictures(images, f"A row of {self._party.id}, and what {what} gives away of it")

    def _label(self, before: Any, after: Any) -> int | None:
        return dense_layer.label_of(before, after, self._num_classes())

    def _num_classes(self) -> int:
        """Return the number of classes, or 0 for labels of another kind."""
        task = self._run.federation.model
        if not isinstance(task, PredictsRows) or task.task not in ("classes", "binary"):
            return 0
        if task.task == "binary":
            return 2
        return int(np.asarray(self._predicted(task)).shape[1])

    def _predicted(self, given: Any) -> np.ndarray:
        model = given.clone()
        model.set_weights(self._run.federation.network.initial_weights)
        return np.asarray(model.predict(rows_of.take(self._party.train, np.array([0]))))

    def _classes(self) -> np.ndarray:
        labels = np.asarray(self._party.train[1])
        return labels.argmax(1) if labels.ndim > 1 and labels.shape[1] > 1 else labels.ravel()
