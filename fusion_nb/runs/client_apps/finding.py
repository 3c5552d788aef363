"""From the option `data` to a ClientApp of Flower, and from that to the parties of a run."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError, NameNotFoundError, missing_extra, option
from fusion_nb.models import lookup
from fusion_nb.models.base import Model
from fusion_nb.models.client_app import AppModel, ArraysModel
from fusion_nb.runs.spec import RunSpec

#: `flower_app:module:app`
PREFIX = "flower_app:"
_APP_MODULES = ("flwr.clientapp.", "flwr.client.")
#: Number of parties of a run that does not say it.
_DEFAULT_PARTIES = 4
#: Option of a run -> names that apps give it in their `run_config`.
OWN_NAMES = {
    "rounds": ("num-server-rounds",),
    "epochs": ("local-epochs", "max-epochs"),
    "lr": ("learning-rate", "lr"),
    "batch_size": ("batch-size",),
}


@dataclass(frozen=True)
class FoundApp:
    """An app, and the `run_config` of its pyproject.toml.

    path: of that file, or None
    """

    app: Any
    run_config: Mapping[str, Any]
    path: Path | None


def is_app(text: str, namespace: Mapping[str, Any]) -> bool:
    """Return whether the option `data` names an app; Flower is not imported for that."""
    return text.startswith(PREFIX) or _looks_like_app(namespace.get(text))


def find(text: str, namespace: Mapping[str, Any]) -> FoundApp:
    """Return the app that `flower_app:module:app` or a variable names.

    Raises NameNotFoundError where there is none.
    """
    if not text.startswith(PREFIX):
        app = namespace[text]
        return FoundApp(app, *_run_config(_module_of(app)))
    place = text.removeprefix(PREFIX)
    name, _, attribute = place.partition(":")
    shown = option("data", text)
    if not name or not attribute:
        raise NameNotFoundError(
            f"{shown} does not say where the app is",
            "write flower_app:module:app, as in the pyproject.toml of the app",
        )
    try:
        module = _imported(name)
    except ModuleNotFoundError as error:
        if error.name == "flwr":
            raise missing_extra(error, shown) from error
        if error.name is not None and error.name != name.split(".")[0] and error.name != name:
            raise DataError(
                f"{shown}: importing {name} failed: {error}", f"install {error.name} here"
            ) from error
        raise NameNotFoundError(
            f"{shown}: there is no module {name}",
            f"start in the folder that holds it (this one is {Path.cwd()}), or install the app",
        ) from error
    app = vars(module).get(attribute)
    if not _looks_like_app(app):
        apps = [key for key, value in vars(module).items() if _looks_like_app(value)]
        found = f"it has {', '.join(apps)}" if apps else "it has no ClientApp"
        raise NameNotFoundError(f"{shown}: {name} has no ClientApp {attribute!r}", found)
    return FoundApp(app, *_run_config(module))


def parties(spec: RunSpec, namespace: Mapping[str, Any]) -> PartitionedData:
    """Return the parties of a run over an app: each is given its number, and reads its own rows.

    Raises DataError for an option about rows, which nobody but the app reads.
    """
    given = [
        name
        for name in ("data_handler", "label", "split", "holdout", "tabular")
        if getattr(spec, name) != RunSpec.model_fields[name].default
    ]
    if given:
        raise DataError(
            f"{option(given[0], getattr(spec, given[0]))}, but each party's ClientApp reads and "
            "divides its own rows",
            f"leave {option(given[0])} out",
        )
    from fusion_nb.engines.flower.client_app import AppParts, ClientAppParty  # few runs have one

    found, count = find(spec.data, namespace), spec.parties or _DEFAULT_PARTIES
    config = run_config(spec, found.run_config)
    made = tuple(
        ClientAppParty.of(f"party {i + 1}", AppParts(found.app, i, count, config))
        for i in range(count)
    )
    none = np.empty(0, dtype=np.int64)
    return PartitionedData(
        made,
        {party.id: (none, none) for party in made},
        notes=tuple(_notes(found, config, count)),
        are_given=True,
    )


def config_of(data: PartitionedData) -> Mapping[str, Any] | None:
    """Return the options of the parties' app, or None for parties that are no apps."""
    rows = data.parties[0].train if data.parties else None
    if rows is None or isinstance(rows, tuple):
        return None  # few runs need what loads Flower's parties
    from fusion_nb.engines.flower.app_rows import AppRows

    return rows.run_config if isinstance(rows, AppRows) else None


def model(native: Any, spec: RunSpec, config: Mapping[str, Any], given: Any) -> Model:
    """Return the adapter of a model whose weights an app trains.

    native: a model of any framework, or a list or dict of arrays
    config: the app's options;  given: the options of the model's own adapter
    """
    takes_arrays = not lookup.framework_of(native) and ArraysModel.takes(native)
    inner = ArraysModel(native) if takes_arrays else lookup.wrap(native, spec.model, **given)
    return AppModel(inner, names_in(config))


def names_in(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names that an app gives to options of a run, by these."""
    return {option: [key for key in keys if key in config] for option, keys in OWN_NAMES.items()}


def with_own_options(spec: RunSpec, namespace: Mapping[str, Any]) -> RunSpec:
    """Return a spec with the app's own values of options that the spec does not name."""
    if not is_app(spec.data, namespace):
        return spec
    return with_options_of(spec, find(spec.data, namespace).run_config)


def with_options_of(spec: RunSpec, config: Mapping[str, Any]) -> RunSpec:
    """Return a spec with an app's own values of options that the spec does not name."""
    own = {
        name: config[key]
        for name, keys in OWN_NAMES.items()
        for key in keys
        if key in config and name not in spec.model_fields_set
    }
    return RunSpec(**spec.model_dump(exclude_unset=True) | own) if own else spec


def run_config(spec: RunSpec, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the app's `run_config`, with the options of the run in place of its own."""
    return with_values(own, {name: getattr(spec, name) for name in OWN_NAMES})


def with_values(own: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an app's `run_config` with values of `OWN_NAMES` in place of its own."""
    config = dict(own)
    for name, keys in OWN_NAMES.items():
        value = values.get(name)
        for key in keys:
            if key in config and isinstance(value, int | float):
                config[key] = value
    return config


def _notes(found: FoundApp, config: Mapping[str, Any], count: int) -> list[str]:
    notes = [
        f"parties: {count} copies of a Flower ClientApp, with partition-id 0 to {count - 1}; each "
        "reads its own rows, whose number is known after its first reply"
    ]
    if found.path is not None:
        shown = ", ".join(f"{key}={value}" for key, value in config.items())
        notes.append(
            f"the app's run_config, from {found.path.name} unless the run says otherwise: "
            f"{shown or 'empty'}"
        )
    return notes


def _looks_like_app(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ == "ClientApp" and f"{kind.__module__}.".startswith(_APP_MODULES)


def _imported(name: str) -> Any:
    """Import a module, from the current folder too, as Flower's own command does."""
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        return import_module(name)
    sys.path.insert(0, folder)
    try:
        return import_module(name)
    finally:
        sys.path.remove(folder)


def _module_of(app: Any) -> Any:
    """Return the module that defines an app's functions, or None for those of a notebook."""
    for module in list(sys.modules.values()):
        found = getattr(module, "__dict__", {})
        if module.__name__ != "__main__" and any(value is app for value in found.values()):
            return module
    return None


def _run_config(module: Any) -> tuple[dict[str, Any], Path | None]:
    """Return the `run_config` in the pyproject.toml above a module, and the path of that file."""
    file = getattr(module, "__file__", None)
    for folder in Path(file).resolve().parents if file else ():
        path = folder / "pyproject.toml"
        if path.is_file():
            tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
            app = tool.get("flwr", {}).get("app")
            return (_flat(app.get("config", {})), path) if app else ({}, None)
    return {}, None


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested config with dots in its names, as Flower gives it to apps."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
