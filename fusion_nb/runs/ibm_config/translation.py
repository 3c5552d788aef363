"""From IBM's aggregator and party files to the options of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_nb.errors import OptionError, nearest
from fusion_nb.runs.ibm_config import names
from fusion_nb.runs.ibm_config.data import PartyData
from fusion_nb.runs.ibm_config.hyperparams import of_global, of_local, optimizer_options


@dataclass(frozen=True)
class ConfigFile:
    """One file: its name in messages, its folder, and what it holds."""

    name: str
    folder: Path
    parts: Mapping[str, Any]

    @property
    def is_aggregator(self) -> bool:
        """Whether it is the aggregator's, and not a party's."""
        return "fusion" in self.parts or "global" in _mapping(self.parts.get("hyperparams"))


@dataclass
class Translation:
    """The options of a run, and a line about each part that has no counterpart."""

    options: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def tell(self, file: str, key: str, sentence: str) -> None:
        """Add a line about a key of a file, once."""
        line = f"{file}: {key}: {sentence}"
        if line not in self.lines:
            self.lines.append(line)


def is_ibm(found: Any) -> bool:
    """Return whether a mapping is one of IBM's configuration files, and no options of a run."""
    if not isinstance(found, Mapping):
        return False
    components = (found.get(name) for name in ("fusion", "data", "connection", "model"))
    return "hyperparams" in found or any(
        isinstance(each, Mapping) and ("name" in each or "class" in each) for each in components
    )


def translate(files: Sequence[ConfigFile], *, allow_code: bool = False) -> Translation:
    """Return the options of the run that these files describe.

    allow_code: import data handlers of the user's own, by their path
    Raises OptionError for files that don't belong together, or that name something that is
    refused.
    """
    aggregators = [file for file in files if file.is_aggregator]
    parties = [file for file in files if not file.is_aggregator]
    if len(aggregators) != 1:
        raise OptionError(
            f"{len(aggregators)} of the files are an aggregator's, by its fusion and hyperparams",
            "give one aggregator file, and those of the parties",
        )
    (aggregator,) = aggregators
    made = Translation()
    hyperparams = _mapping(aggregator.parts.get("hyperparams"))
    general, local = _mapping(hyperparams.get("global")), _mapping(hyperparams.get("local"))
    tell = _teller(made, aggregator, "hyperparams")
    made.options |= of_local(local, tell) | of_global(general, tell)
    made.options["fusion"] = _fusion(aggregator, general, made)
    _model([aggregator, *parties], optimizer_options(local), made)
    if not made.options.get("optimizer") and (params := optimizer_options(local)):
        made.options["optimizer"] = f"sgd:{params}"
    _parties(aggregator, parties, general, made, allow_code=allow_code)
    for file in files:
        _others(file, made)
    return made


def _fusion(file: ConfigFile, general: Mapping[str, Any], made: Translation) -> str:
    """Return the fusion that stands for a handler."""
    given = _mapping(file.parts.get("fusion"))
    handler = str(given.get("name", "IterAvgFusionHandler"))
    short = handler.removesuffix("FusionHandler").removesuffix("Handler")
    if short in names.NO_FUSION:
        raise OptionError(
            f"{file.name}: the fusion {handler} has no counterpart",
            f"use {names.NO_FUSION[short]}",
        )
    if short not in names.FUSIONS:
        known = [f"{name}FusionHandler" for name in names.FUSIONS]
        raise OptionError(
            f"{file.name}: the fusion {handler} is not known",
            f"{nearest(handler, known)}those that are: {', '.join(known)}; one of your own is "
            "written in a cell, under @fusion_nb.fusion",
        )
    info = _mapping(given.get("info"))
    if info.get("warm_start"):
        made.tell(file.name, "fusion.info.warm_start", "a run begins with the model's weights")
    if note := names.FUSION_NOTES.get(short, ""):
        made.tell(file.name, "fusion", note)
    fusion = names.FUSIONS[short]
    if fusion == "krum" and "byzantine_threshold" in general:
        return f"krum:f={general['byzantine_threshold']}"
    return fusion


def _model(files: Sequence[ConfigFile], params: str, made: Translation) -> None:
    """Add model, loss and optimizer, as the first file that has a model says."""
    holder = next((file for file in files if _mapping(file.parts.get("model"))), None)
    if holder is None:
        made.tell(files[0].name, "model", "no file has one: build `model` in a cell")
        return
    given = _mapping(holder.parts["model"])
    spec = _mapping(given.get("spec") or given.get("info"))
    definition = spec.get("model_definition")
    if given.get("name") not in names.MODELS or not definition:
        made.tell(holder.name, "model", f"{given.get('name')}: build `model` in a cell")
    else:
        made.options["model"] = _model_file(holder, str(definition))
    if loss := spec.get("loss_criterion"):
        made.options["loss"] = str(loss).rpartition(".")[2]
    if optimizer := spec.get("optimizer"):
        name = str(optimizer).rpartition(".")[2].lower()
        made.options["optimizer"] = f"{name}:{params}" if params else name


def _model_file(file: ConfigFile, definition: str) -> str:
    """Return the path of a model's file. Raises OptionError for one that is not read here."""
    ending = Path(definition).suffix
    if ending in names.NO_MODEL_FILES:
        raise OptionError(
            f"{file.name}: the model {definition!r} is not read", names.NO_MODEL_FILES[ending]
        )
    return found_in(file.folder, definition)


def _parties(
    aggregator: ConfigFile,
    files: Sequence[ConfigFile],
    general: Mapping[str, Any],
    made: Translation,
    *,
    allow_code: bool,
) -> None:
    """Add the parties' data, and check how many there are."""
    wanted = general.get("num_parties", general.get("parties"))
    if not files:
        made.tell(aggregator.name, "data", "no party's file was given: name rows by data")
        if wanted is not None:
            made.options["parties"] = wanted
        return
    if wanted is not None and wanted != len(files):
        raise OptionError(
            f"{aggregator.name} has num_parties: {wanted}, and {len(files)} files of parties "
            "were given",
            "give the file of every party",
        )
    data = PartyData(allow_code=allow_code)
    for file in files:
        given = _mapping(file.parts.get("data"))
        data.add(file.name, file.folder, given, _teller(made, file, "data"))
    made.options |= data.options()
    if aggregator.parts.get("data"):
        made.tell(aggregator.name, "data", "the central test set is not read: each party's is used")


def _others(file: ConfigFile, made: Translation) -> None:
    """Tell the parts of a file that decide nothing here."""
    for name, value in file.parts.items():
        if name in ("fusion", "hyperparams", "data", "model"):
            continue
        if name not in names.PARTS:
            made.tell(file.name, name, "has no counterpart, and decides nothing here")
        elif sentence := names.PARTS[name]:
            made.tell(file.name, name, sentence)
        elif name == "connection" and _has_tls(value):
            made.tell(file.name, "connection.tls_config", "nothing is sent anywhere")


def _has_tls(value: Any) -> bool:
    return bool(_mapping(_mapping(_mapping(value).get("info")).get("tls_config")).get("enable"))


def _teller(made: Translation, file: ConfigFile, part: str) -> Callable[[str, str], None]:
    return lambda key, sentence: made.tell(file.name, f"{part}.{key}", sentence)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def found_in(folder: Path, path: str) -> str:
    """Return a path as it is, or inside the folder of its file where only there is such a file."""
    beside = folder / path
    return str(beside) if not Path(path).exists() and beside.exists() else path
