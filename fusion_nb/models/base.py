"""What a federation asks of a model, whatever framework it is written in."""

from __future__ import annotations

import importlib.util
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusion_nb.core import registry, seeds
from fusion_nb.core.machine import num_cores
from fusion_nb.core.options import signature_options
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError, NameNotFoundError, nearest

#: The base class, as `module.Class`, by which a framework's models are known without importing the
#: framework.
_BASE_CLASSES = {
    "gensim.models.doc2vec.Doc2Vec": "doc2vec",
    "keras.src.models.model.Model": "keras",
    # after Keras: on its torch backend its models are Modules too
    "torch.nn.modules.module.Module": "torch",
}
#: Frameworks that draw a model's first weights from a generator of their own, and not from Python's
#: or numpy's.
_DRAWS_ITSELF = {"torch"}
#: What the file of a whole model ends with.
_SUFFIXES = {
    ".pt": "torch",
    ".pth": "torch",
    ".keras": "keras",
    ".doc2vec": "doc2vec",
    ".d2v": "doc2vec",
}


class Model(ABC):
    """A model of some framework: weights in and out by name, local training, evaluation, and files.

    An adapter never changes the user's own object: it works on a copy, and hands out copies.

    An adapter whose parties must agree on something before round 1 (a vocabulary, say) has three
    more methods: `collect(data) -> extras` at each party, `agree(updates)` at the aggregator, whose
    return value goes to `prepare(data, state, agreed)` at each party; only then are the first
    weights taken. `notes` says what was agreed.

    An adapter that can train several parties' models as one has two more: `fit_together(trainings)`
    returns for each `Training` its (weights, what `fit` returns), or the exception that it ended
    with; and `apart(orders, parties)` returns why these parties must be trained one by one, or how
    many times as fast they are together.
    """

    #: Options of fusions (`Fusion.local`) that `fit` honours. Any other is refused by name before
    #: training.
    supports: ClassVar[frozenset[str]] = frozenset()
    #: Export format -> file name in the export's folder.
    formats: ClassVar[Mapping[str, str]] = {}
    #: What messages call a model of this kind.
    kind: ClassVar[str] = "model"
    #: The fusion and the optimizer of a run that names none.
    defaults: Mapping[str, Any] = {"fusion": "fedavg", "optimizer": "sgd"}
    #: Options of a run that `fit` is told of and that not every kind of model has. Those that
    #: decide how the adapter is made (`loss`, say) are keyword-only parameters of its constructor.
    orders: ClassVar[frozenset[str]] = frozenset({"batch_size", "optimizer", "local_steps"})
    #: Called between two batches: it may block (pause) or raise Stopped.
    gate: Callable[[], None] = staticmethod(lambda: None)
    #: Cores that `evaluate` may use.
    num_cores: int = num_cores()
    #: What `evaluate` measures; the first is what a run monitors unless told otherwise.
    metrics: tuple[str, ...] = ("accuracy", "loss")
    #: Those of `metrics` that a party measures on its own training rows and state, by `watch`.
    watched: tuple[str, ...] = ()
    #: Those of `metrics` that cost so much that `examine` measures them every few rounds alone, and
    #: in the last.
    examined: tuple[str, ...] = ()
    #: "numbers" or "documents": what the rows of its data are.
    takes: ClassVar[str] = "numbers"
    #: Whether `fit` is told by `progress=(from, to)` which part of a run, from 0 to 1, it is to
    #: train.
    is_scheduled: ClassVar[bool] = False
    #: What parties agreed on before round 1, as sentences for the user.
    notes: tuple[str, ...] = ()
    #: Training rows that every party must have at the least.
    min_rows: int = 1
    #: Option of a run -> values that completion offers for it.
    choices: ClassVar[Mapping[str, list[str]]] = {}
    #: Packages whose versions belong on the card.
    packages: ClassVar[tuple[str, ...]] = ()

    @property
    def settings(self) -> list[str]:
        """The options of a run that decide how the adapter is made."""
        return settings(type(self))

    @property
    def single(self) -> Model:
        """The model that one party trains: itself, unless it holds several."""
        return self

    @property
    def side_by_side(self) -> bool:
        """Whether copies of it may be trained at the same time, each in a thread of its own."""
        return False

    @classmethod
    def on_one_core(cls) -> AbstractContextManager[Any]:
        """Return a context in which what a thread computes stays on one core."""
        return nullcontext()

    def default_lr(self, optimizer: Any) -> float | None:
        """Return the learning rate of a run that names none; None leaves it to what the optimizer
        brings.
        """
        return 0.01

    @classmethod
    def handles(cls, model: Any) -> bool:
        """Return whether this adapter takes that object. Asked of adapters that other packages
        bring.
        """
        return False

    @classmethod
    def load(cls, path: Path) -> Any:
        """Return the framework's own model from a file, running nothing that the file brings
        along.
        """
        raise ModelError(
            f"{cls.__name__} reads no files", "give the name of a variable that holds the model"
        )

    @classmethod
    def taken_up(cls, model: Any) -> Model:
        """Return the adapter of a model that one of this class wrote in a run, ready for weights of
        the same run.
        """
        return cls(model)  # type: ignore[call-arg]

    @classmethod
    def seeded(cls, seed: int) -> AbstractContextManager[Any]:
        """Return a context in which the framework draws initial weights that depend on the seed
        alone.
        """
        return nullcontext()

    @abstractmethod
    def clone(self) -> Model:
        """Return an independent copy, for a worker."""

    @abstractmethod
    def check(
        self, rows: Any, labels: np.ndarray, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Try a few rows, and look at all labels; return what was inferred, as sentences.

        Raises ModelError where model, rows, labels and optimizer don't go together.
        """

    @abstractmethod
    def get_weights(self) -> Weights:
        """Return a copy of every entry of the model's state."""

    def trained_names(self) -> frozenset[str]:
        """Return the names of the entries that gradients train; other numbers are statistics, such
        as BatchNorm's.
        """
        return frozenset(
            name
            for name, array in self.get_weights().items()
            if np.issubdtype(array.dtype, np.inexact)
        )

    def norm_names(self) -> frozenset[str]:
        """Return the names of the entries of batch normalization layers."""
        return frozenset()

    @abstractmethod
    def set_weights(self, weights: Weights) -> None:
        """Take over weights of the same names, shapes and dtypes."""

    @abstractmethod
    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        batch_size: int,
        lr: float | None,
        optimizer: Any,
        seed: int,
        state: dict[str, Any] | None = None,
        steps: int = 0,
        **local: Any,
    ) -> Mapping[str, Any]:
        """Train on the rows; return `loss`, the mean over the rows of the last pass, `steps`,
        `travel` and `extras`.

        seed:  fixes the order of rows and everything random in the model
        steps: train so many batches, in place of `epochs`; for models with "local_steps" among
        their `orders`
        local: those of `supports` that a fusion asks for. Of these every framework means the same:
               mu, anchor: add mu / 2 times the squared distance from the anchor to the loss (mu *
               (w - anchor) to the gradient); without an anchor, from the weights that the training
               starts from
               shift: named arrays that are added to the gradient of the parameters of these names
               mix: train weights `own` too, on the same batches, by the loss of `alpha` * own + (1
                    - alpha) * these weights; `extras` holds them as `own`, and the mixture as
                    `mixed`
        `steps` is how many the optimizer took, and `travel` how far they carry a weight whose
        gradient is always 1.
        state: what this party keeps from one round to the next. Entries are replaced and never
               changed in place, since a round that is given up is trained again from the old ones.
        """

    @abstractmethod
    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows; the mean over data sets weighted by size is the metric
        of their union.
        """

    def watch(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the metrics `watched`, of a party's own training rows with what it keeps in its
        state.
        """
        return {}

    def examine(self, data: Any) -> Metrics:
        """Return those of the metrics `examined` that these rows allow."""
        return {}

    def personal(self, weights: Weights, data: Any) -> Any:
        """Return the framework's own model with these weights and what of a party's rows belongs
        into it.

        Raises ModelError for a kind of model that is the same at every party.
        """
        raise ModelError(
            f"a {self.kind} holds nothing of a party's own", "run.model is the same for every party"
        )

    @abstractmethod
    def native(self, weights: Weights) -> Any:
        """Return the framework's own model with these weights, ready for prediction and independent
        of this one.
        """

    @abstractmethod
    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights to `path` in one of `formats`."""


def framework_of(model: Any) -> str:
    """Return the registered name of the adapter that takes an object, or an empty string; imports
    no framework.
    """
    for base in type(model).__mro__:
        if name := _BASE_CLASSES.get(f"{base.__module__}.{base.__qualname__}"):
            return name
    others = (name for name in registry.names("models") if name not in _BASE_CLASSES.values())
    return next((name for name in others if registry.get("models", name).handles(model)), "")


def adapter_of(name: str, namespace: Mapping[str, Any]) -> type[Model] | None:
    """Return the adapter for the model that a variable holds, or None where there is none, or for a
    file.
    """
    framework = framework_of(namespace.get(name))
    return registry.get("models", framework) if framework else None


def find(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the user's model: a variable's value, or what a file holds.

    Raises NameNotFoundError, with the models that the namespace has, or ModelError for a file that
    is refused.
    """
    if name in namespace:
        return namespace[name]
    path = Path(name)
    if path.suffix in _SUFFIXES:
        if not path.is_file():
            raise ModelError(f"there is no file {name}", f"the current folder is {Path.cwd()}")
        return registry.get("models", _SUFFIXES[path.suffix]).load(path)
    if path.exists():
        raise ModelError(
            f"{name} is no kind of file that models are read from",
            f"those are: {', '.join(_SUFFIXES)}",
        )
    there = [
        key for key, value in namespace.items() if not key.startswith("_") and framework_of(value)
    ]
    hint = f"{nearest(name, there)}models here: {', '.join(there)}"
    other = f"define it in the cell ({name} = ...), or name another one with --model"
    raise NameNotFoundError(
        f"there is no variable {name!r} in this notebook", hint if there else other
    )


def check_defined(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise ModelError where a cell's body made a model under another name, and an older one would
    be trained.
    """
    if name not in before or before[name] is not after.get(name):
        return
    made = [
        key
        for key, value in after.items()
        if value is not before.get(key) and not key.startswith("_")
    ]
    if others := [key for key in made if framework_of(after[key])]:
        line = f"the cell's body makes {others[0]}, and {name!r} is that of an earlier cell"
        raise ModelError(line, f"add --model {others[0]}, or call it {name}")


@contextmanager
def seeded(seed: int, code: str) -> Iterator[None]:
    """Fix everyone's random state for as long as a cell's body builds a model: Python's, numpy's
    and the frameworks'.

    A framework that is installed but not loaded yet is loaded here, and quietly, if the code names
    it. If it names none, the body may still import one by way of the user's own modules: the one
    whose generator is its own is loaded.
    """
    installed = {name: base.partition(".")[0] for base, name in _BASE_CLASSES.items()}
    installed = {
        name: package for name, package in installed.items() if importlib.util.find_spec(package)
    }
    named = {name for name, package in installed.items() if re.search(rf"\b{package}\b", code)}
    with ExitStack() as stack:
        # Not alone: the body may wait for a run in the background, which in turn draws for its data
        # set.
        stack.enter_context(seeds.Shared(seed, alone=False))
        for name, package in installed.items():
            if name in named or package in sys.modules or (not named and name in _DRAWS_ITSELF):
                stack.enter_context(registry.get("models", name).seeded(seed))
        yield


def settings(kind: type[Model]) -> list[str]:
    """Return the options of a run that decide how an adapter is made."""
    return [option.name for option in signature_options(kind)]


def loaded() -> list[type[Model]]:
    """Return the adapters of the frameworks that are loaded already."""
    there = [name for base, name in _BASE_CLASSES.items() if base.partition(".")[0] in sys.modules]
    return [registry.get("models", name) for name in there]


def wrap(model: Any, name: str, **options: Any) -> Model:
    """Return the adapter for a user's model, made with those of the options that this kind of model
    has.

    Raises ModelError for an object that no adapter takes.
    """
    framework = framework_of(model)
    if framework:
        kind = registry.get("models", framework)
        return kind(
            model, **{option: options[option] for option in settings(kind) if option in options}
        )
    kinds = ", ".join(registry.names("models"))
    if isinstance(model, type):
        raise ModelError(
            f"{name!r} is a class, not a model", f"make one first: {name} = {model.__name__}(...)"
        )
    raise ModelError(
        f"{name!r} is {type(model).__name__}, which is no model of a known framework",
        f"known: {kinds}, such as a torch.nn.Module, a keras.Model or a gensim Doc2Vec",
    )
