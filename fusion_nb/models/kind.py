"""The facts about a kind of model that its adapter's class states."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from fusion_nb.core.options import signature_options
from fusion_nb.core.types import WeightsKind
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.identity.texts import Identity, of_choice

#: Options of a run that go to `fit`, where the kind of model has them.
FIT_OPTIONS = frozenset({"batch_size", "optimizer", "local_steps"})


def setting_names(kind: type[ModelKind]) -> list[str]:
    """Return the names of the options of a run that decide how an adapter is made."""
    return [option.name for option in signature_options(kind)]


class ModelKind(ABC):
    """A framework, its files, and the options that its models have.

    It is a base class of `Model`, so that an adapter states these facts as class attributes.
    """

    #: The base class of the framework's models as `module.Class`. They are recognised by this name,
    #: so that the framework is not imported for it.
    base_class: ClassVar[str]
    #: Endings of the files that hold a whole model and that `load` reads, the usual one first.
    suffixes: ClassVar[tuple[str, ...]] = ()
    #: The name of this kind of model in messages.
    kind: str = "model"
    #: Packages whose versions belong on the card.
    packages: tuple[str, ...] = ()
    #: Export format -> file name in the export's folder.
    formats: Mapping[str, str] = {}
    #: The one of `formats` that `load` reads again; "" where a model can't be sent to a service.
    whole_format: str = ""
    #: Those of `formats` in which a service hands out fused weights, beside json and npz.
    download_formats: tuple[str, ...] = ()
    #: How a client of a service saves a file that `load` reads, as a sentence.
    upload_hint: ClassVar[str] = ""
    #: The kind of its weights, of which only some fusions make sense: numbers that can be averaged,
    #: statistics that can be added up, or trees.
    weights_kind: WeightsKind = "numbers"
    #: The kind of rows that it is trained on.
    data_kind: Literal["numbers", "documents"] = "numbers"
    #: Whether numbers of its rows may be missing, and are NaN then.
    takes_missing: bool = False
    #: Options of fusions (`Fusion.client_options`) that `fit` honours. Any other is refused by name
    #: before training.
    supported_client_options: frozenset[str] = frozenset()
    #: Options of a run that `fit` takes and that not every kind of model has. Options that decide
    #: how the adapter is made (`loss`, say) are keyword-only parameters of its constructor.
    supported_options: frozenset[str] = FIT_OPTIONS
    #: Option of a run -> values that completion offers for it.
    choices: Mapping[str, list[str]] = {}
    #: Whether `fit` takes `progress=(from, to)`: the part of the run, from 0 to 1, that it trains.
    has_lr_schedule: bool = False
    #: The fusion and the optimizer of a run that names none.
    defaults: Mapping[str, Any] = {"fusion": "fedavg", "optimizer": "sgd"}

    @classmethod
    def handles(cls, model: Any) -> bool:
        """Return whether an object is a model of this framework: one derived from `base_class`."""
        return any(
            f"{b.__module__}.{b.__qualname__}" == cls.base_class for b in type(model).__mro__
        )

    @classmethod
    def load(cls, path: Path) -> Any:
        """Return the framework's own model from a file, and run no code that the file holds."""
        raise ModelError(
            f"{cls.__name__} reads no files", "give the name of a variable that holds the model"
        )

    @classmethod
    def from_checkpoint(cls, model: Any) -> Self:
        """Return the adapter of a model that `native` returned, ready for weights of its run."""
        return cls(model)  # type: ignore[call-arg]

    @classmethod
    def seeded(cls, seed: int) -> AbstractContextManager[Any]:
        """Return a context in which first weights depend on the seed alone."""
        return nullcontext()

    @classmethod
    def single_threaded(cls) -> AbstractContextManager[Any]:
        """Return a context in which the computations of a thread stay on one core."""
        return nullcontext()

    @property
    def loss_name(self) -> str:
        """The name of the loss that it is trained by, or "" where it has none of its own name."""
        return ""

    @property
    def setting_names(self) -> list[str]:
        """The names of the options of a run that decide how the adapter is made."""
        return setting_names(type(self))

    def identity(self, *, lr: float | None, optimizer: Any) -> Identity:
        """Return what decides the training beside the weights, as text: a run that is resumed
        compares it with that of its beginning. It is asked after `check`.

        lr, optimizer: as `fit` has them
        """
        if "optimizer" not in self.supported_options:
            return {}
        return {"optimizer": of_choice(optimizer) | {"lr": repr(lr)}}

    def check_client_options(self, names: Iterable[str]) -> None:
        """Raise OptionError for options of a fusion that this kind of model can't honour."""
        if unknown := set(names) - self.supported_client_options:
            raise OptionError(
                f"a {self.kind} can't honour {', '.join(sorted(unknown))}", "use another fusion"
            )
