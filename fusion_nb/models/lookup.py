"""From a user's object, its name or a file to the adapter of its framework."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from fusion_nb.core import registry, seeds
from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.core.contracts import check_form, check_signatures
from fusion_nb.errors import ModelError, NameNotFoundError, OptionError, nearest, option
from fusion_nb.models.base import Model, setting_names
from fusion_nb.models.kind import FIT_OPTIONS

_WORD = "adapter of models"


def _checked(kind: type[Model]) -> type[Model]:
    """Return an adapter's class. Raises OptionError for one of an earlier form, or incomplete."""
    check_form("models", kind, _WORD)
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise OptionError(
            f"{kind!r} is no adapter of models", "derive a class from fusion_nb.models.base.Model"
        )
    if "base_class" not in dir(kind):
        raise OptionError(
            f"{kind.__name__} does not say which models it takes",
            'give it base_class = "module.Class", the base class of these models',
        )
    _check_facts(kind)
    takes_steps = "local_steps" in kind.supported_options
    check_signatures(kind, _WORD, optional=() if takes_steps else ("steps",))
    _check_client_options(kind)
    _check_schema(kind)
    return kind


def _check_schema(kind: type[Model]) -> None:
    """Raise OptionError for a `check` that takes labels, as it did in an earlier form."""
    if "labels" in inspect.signature(kind.check).parameters:
        raise OptionError(
            f"the class {kind.__name__} is no {_WORD}: its check takes labels, as in an earlier "
            "form",
            "rename labels -> schema in def check(self, rows, schema, *, lr, optimizer), and read "
            "schema.labels: its kind, shape, values, low and high",
        )


def _check_facts(kind: type[Model]) -> None:
    """Raise OptionError for a class attribute of another form than the others rely on."""
    forms: dict[str, tuple[tuple[type, ...], str]] = {
        "metrics": ((tuple, list), 'metrics = ("loss",)'),
        "formats": ((Mapping,), 'formats = {"npz": "model.npz"}'),
        "suffixes": ((tuple, list), 'suffixes = (".npz",)'),
        "supported_options": ((frozenset, set), 'supported_options = frozenset({"batch_size"})'),
        "supported_client_options": (
            (frozenset, set),
            'supported_client_options = frozenset({"mu"})',
        ),
    }
    for name, (types, example) in forms.items():
        value = getattr(kind, name)
        if not isinstance(value, (*types, property)):
            raise OptionError(
                f"{kind.__name__}.{name} is {type(value).__name__}, not {types[0].__name__}",
                f"write {example}",
            )
    if unknown := sorted(set(kind.supported_options) - FIT_OPTIONS):
        raise OptionError(
            f"{kind.__name__}.supported_options names {unknown[0]!r}, which no run gives to fit",
            f"allowed are {', '.join(sorted(FIT_OPTIONS))}; an option such as loss or device is a "
            "keyword-only parameter of the constructor",
        )


def _check_client_options(kind: type[Model]) -> None:
    """Raise OptionError for a client option that `fit` would take in among others, and ignore."""
    parameters = inspect.signature(kind.fit).parameters
    # One that calls the fit of its base class may pass them on.
    passes_on = "__class__" in kind.fit.__code__.co_freevars
    if passes_on or kind.fit.__module__.startswith("fusion_nb."):
        return
    if absent := sorted(set(kind.supported_client_options) - parameters.keys()):
        raise OptionError(
            f"{kind.__name__}.supported_client_options names {absent[0]!r}, and its fit has no "
            "such parameter",
            f"write def fit(self, data, *, ..., {absent[0]}=0.0, **options), and use it there",
        )


model_adapter = registry.decorator("models", _checked)
model_adapter.__doc__ = """Register an adapter of models, by its own name or by `name=`.

Its `base_class` and `suffixes` say which models and files it takes; see `fusion_nb.models.base` for
a complete one. Raises OptionError, with what to write, for a class that misses something.

>>> @model_adapter(name="mine")
... class Mine:
...     pass
Traceback (most recent call last):
    ...
fusion_nb.errors.OptionError: <class 'fusion_nb.models.lookup.Mine'> is no adapter of models
  derive a class from fusion_nb.models.base.Model
"""

#: Endings of files that are read by running what they hold.
_PICKLES = (".pkl", ".pickle", ".joblib", ".sav", ".dill", ".cloudpickle")
_BY_BASE_CLASS = {
    base: name
    for name, framework in FRAMEWORKS.items()
    for base in (framework.base_class, *framework.other_classes)
}


def adapter(name: str) -> type[Model]:
    """Return the adapter that is registered under a name; this imports its framework."""
    found: type[Model] = registry.get("models", name)
    return found


def framework_of(model: Any) -> str:
    """Return the registered name of the adapter for an object, or "" where no adapter takes it.

    Where several take it, it is the one whose `base_class` is the nearest to the model's own class.
    No framework that this package brings is imported.
    """
    others = _others()
    takers = {kind.base_class: name for name, kind in others.items()} | _BY_BASE_CLASS
    for base in type(model).__mro__:
        if name := takers.get(f"{base.__module__}.{base.__qualname__}"):
            return name
    return next((name for name, kind in others.items() if kind.handles(model)), "")


def adapter_of(name: str, namespace: Mapping[str, Any]) -> type[Model] | None:
    """Return the adapter for the model that a variable holds; None for other values and files."""
    framework = framework_of(namespace.get(name))
    return adapter(framework) if framework else None


def takes_missing(name: str, namespace: Mapping[str, Any]) -> bool:
    """Return whether the model of a variable or file takes rows in which numbers are missing.

    The file is not read. It is False for a name of no model.
    """
    if name in namespace:
        kind = adapter_of(name, namespace)
    else:
        framework = suffixes().get(Path(name).suffix)
        kind = adapter(framework) if framework else None
    return kind is not None and kind.takes_missing


def suffixes() -> dict[str, str]:
    """Return the endings of files that hold a whole model, each with the name of its adapter."""
    found = {suffix: name for name, kind in FRAMEWORKS.items() for suffix in kind.suffixes}
    return found | {suffix: name for name, kind in _others().items() for suffix in kind.suffixes}


def find(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the user's model: the value of a variable, or the content of a file.

    Raises NameNotFoundError, with the models that the namespace has, or ModelError for a file that
    is refused.
    """
    if name in namespace:
        return namespace[name]
    path = Path(name).expanduser()
    known = suffixes() if path.suffix else {}
    if path.suffix in known:
        if not path.is_file():
            raise ModelError(f"there is no file {name}", f"the current folder is {Path.cwd()}")
        return adapter(known[path.suffix]).load(path)
    if path.suffix in _PICKLES:
        raise ModelError(
            f"{name} is a pickle, and reading one runs whatever code it holds",
            "load it in the notebook if you trust it, and name the variable; a file for others is "
            "written by skops.io.dump(model, 'model.skops')",
        )
    if path.exists():
        raise ModelError(
            f"{name} is no kind of file that models are read from",
            f"those are: {', '.join(suffixes())}",
        )
    models = [
        key for key, value in namespace.items() if not key.startswith("_") and framework_of(value)
    ]
    hint = (
        f"{nearest(name, models)}give {option('model')} one of the models here: {', '.join(models)}"
    )
    if not models:
        hint = f"define it in the cell ({name} = ...), or name another one with {option('model')}"
    raise NameNotFoundError(f"there is no variable {name!r} in this notebook", hint)


def check_defined(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise ModelError where a cell's body makes a model, but the run would train an older one."""
    if name not in before or before[name] is not after.get(name):
        return
    made = [
        key
        for key, value in after.items()
        if value is not before.get(key) and not key.startswith("_")
    ]
    if others := [key for key in made if framework_of(after[key])]:
        raise ModelError(
            f"the cell's body makes {others[0]}, and {name!r} is that of an earlier cell",
            f"add {option('model', others[0])}, or call it {name}",
        )


@contextmanager
def seeded(seed: int, code: str) -> Iterator[None]:
    """Fix all random state while a cell's body builds a model.

    This is the state of Python, numpy and the frameworks. An installed framework that is not loaded
    yet is loaded here if the code names it. If the code names none, it may still import one through
    the user's own modules, so those frameworks are loaded that draw from their own generator.
    """
    installed = {
        name: framework
        for name, framework in FRAMEWORKS.items()
        if importlib.util.find_spec(framework.package)
    }
    named = {name for name, kind in installed.items() if re.search(rf"\b{kind.package}\b", code)}
    with ExitStack() as stack:
        # No lock: the body may wait for a run in the background, which draws for its own data set.
        stack.enter_context(seeds.SeededGlobalRandomness(seed, exclusive=False))
        for name, framework in installed.items():
            is_loaded = framework.package in sys.modules
            if name in named or is_loaded or (not named and framework.has_own_generator):
                stack.enter_context(adapter(name).seeded(seed))
        yield


def loaded() -> list[type[Model]]:
    """Return the adapters of the frameworks that are loaded already."""
    return [adapter(name) for name, kind in FRAMEWORKS.items() if kind.package in sys.modules]


def wrap(model: Any, name: str, **options: Any) -> Model:
    """Return the adapter for a user's model, made with those of the options that it has.

    Raises ModelError for an object that no adapter takes.
    """
    framework = framework_of(model)
    if framework:
        kind: Any = adapter(framework)
        made: Model = kind(
            model, **{word: options[word] for word in setting_names(kind) if word in options}
        )
        return made
    if isinstance(model, type):
        raise ModelError(
            f"{name!r} is a class, not a model", f"make one first: {name} = {model.__name__}(...)"
        )
    _check_generation(model, name)
    for other, adapter_class in _others().items():
        module, _, last = adapter_class.base_class.rpartition(".")
        for base in type(model).__mro__:
            if base.__name__ == last and base.__module__ != module:
                own = f"{base.__module__}.{base.__qualname__}"
                raise ModelError(
                    f"the adapter {other!r} takes {adapter_class.base_class!r}, and {name!r} is "
                    f"{own!r}",
                    f"write base_class = {own!r} in {adapter_class.__name__}",
                )
    raise ModelError(
        f"{name!r} is {type(model).__name__}, which is no model of a known framework",
        f"known: {', '.join(registry.names('models'))}, such as a torch.nn.Module, a keras.Model, "
        "an estimator of scikit-learn or an XGBClassifier",
    )


def _check_generation(model: Any, name: str) -> None:
    """Raise ModelError for a model of Keras 2, whose classes are not those of Keras 3."""
    modules = (base.__module__ for base in type(model).__mro__)
    if any(module.startswith(("tf_keras.", "tensorflow.python.keras.")) for module in modules):
        raise ModelError(
            f"{name!r} is a model of Keras 2 (tf_keras), and models of Keras 3 are trained",
            "unset TF_USE_LEGACY_KERAS, restart the kernel, and build it with import keras; its "
            "weights go over by set_weights(old.get_weights())",
        )


def _others() -> dict[str, type[Model]]:
    """Return the adapters that other packages or the user registered, by name."""
    found = {}
    for name in registry.names("models"):
        if name not in FRAMEWORKS:
            # Without its framework, there are no models that it would take.
            with suppress(ImportError):
                found[name] = adapter(name)
    return found
