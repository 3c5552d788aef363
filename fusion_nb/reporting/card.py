"""The card of an export: one record as JSON for programs and as Markdown for people."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.core.types.table import TableSchema
from fusion_nb.reporting.contributions import Contributions
from fusion_nb.reporting.formatting import markdown_table
from fusion_nb.reporting.parties import KINDS, PartyReport
from fusion_nb.reporting.result import Result
from fusion_nb.reporting.templates import Markdown, escape_markdown, render_markdown, visible

_CARD = """\
# {{ card.name }}: a model fused by {{ card.chosen.fusion }} over {{ num_parties }} parties

Written {{ card.created }}. Status: {{ card.status }}{{ reason }}.
The weights are those of round {{ card.round }}: {{ metrics }}.

![curves](chart.png)

## To repeat it
```
{{ cell }}
```{{ given }}
{% for note in card.notes %}
- {{ note }}
{% endfor %}

## Options
{{ options }}

## Data
{{ data }}{{ table }}

## Parties
{{ parties }}{{ contributions }}

Local: the party's own model after its last local training, before fusion. All on the party's own
{{ rows }}.
{{ gains }}

## Rounds
{{ rounds }}

## Weights
SHA-256 of the fused weights: `{{ card.weights.sha256 }}`
(first weights: `{{ card.weights.initial_sha256 }}`)

Made with {{ versions }} on {{ card.platform }}.
"""


def as_dict(
    result: Result,
    weights: Weights,
    round: int,
    *,
    files: Mapping[str, str],
    packages: Sequence[str],
) -> dict[str, Any]:
    """Return the card as a mapping that JSON can hold.

    weights, round: the exported weights and the round that they are of
    files:          SHA-256 of each exported file;  packages: those whose versions are told
    """
    return {
        "name": result.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": result.status,
        "reason": result.reason,
        "round": round,
        "best_round": result.best_round,
        "monitor": result.monitor,
        "shown": list(result.metrics),
        "metrics": _finite(result.history[round - 1].metrics if round else {}),
        "spec": result.spec,
        "chosen": result.chosen,
        "cell": result.cell,
        "notes": list(result.notes),
        "schema": result.schema.to_json(),
        "parties": [_party(party) for party in result.parties],
        **_contributions(result.parties.contributions),
        "history": json.loads(result.history.to_json()),
        "weights": {
            "sha256": arithmetic.digest(weights),
            "initial_sha256": result.initial_sha256,
            "entries": {name: [str(array.dtype), *array.shape] for name, array in weights.items()},
        },
        "files": dict(files),
        "versions": versions(packages),
        "platform": platform.platform(),
    }


def as_markdown(card: Mapping[str, Any], result: Result) -> str:
    """Return the card as text for people.

    Names and values are escaped, so that none of them can end a table cell or begin a tag.
    """
    metrics = [
        f"{name} {value:.4g}" for name, value in card["metrics"].items() if value is not None
    ]
    options = [
        [name, str(value)]
        for name, value in (card["spec"] | card["chosen"]).items()
        if name != "code" and value != ""
    ]
    rounds = [
        [str(record["round"]), *(_cell(record["metrics"].get(name)) for name in card["shown"])]
        for record in card["history"]
    ]
    parties = result.parties.table(result.monitor, limit=len(result.parties))
    return render_markdown(
        _CARD,
        card=card,
        num_parties=sum(not party.get("is_unseen") for party in card["parties"]),
        reason=f" ({card['reason']})" if card["reason"] else "",
        metrics=", ".join(metrics),
        cell=Markdown("\n".join(map(visible, card["cell"].replace("```", "'''").split("\n")))),
        given=Markdown(_given(card["spec"])),
        options=Markdown(markdown_table([["option", "value"], *options])),
        data=result.schema.describe(),
        table=Markdown(_table(result.schema.table)),
        parties=Markdown(markdown_table(parties)),
        contributions=Markdown(_charts(result.parties.contributions)),
        rows="documents that it trained on" if card["monitor"] == "self_rank" else "test rows",
        gains=Markdown("\n".join(map(escape_markdown, result.parties.gains(result.monitor)))),
        rounds=Markdown(markdown_table([["round", *card["shown"]], *rounds])),
        versions=", ".join(f"{name} {number}" for name, number in card["versions"].items()),
    )


def _given(spec: Mapping[str, Any]) -> str:
    """Return which names in the cell stand for objects that a call from Python was given."""
    names = [name for name, value in spec.items() if value == f"given_{name}"]
    if not names:
        return ""
    written = " and ".join(f"`given_{name}`" for name in names)
    own = ", ".join(f"{name}=..." for name in names)
    return (
        f"\n\nThe run was called from Python with objects: put yours in place of {written}, as in "
        f"`fusion_nb.federate({own})`."
    )


def _table(table: TableSchema | None) -> str:
    """Return the columns of a table with their statistics, and how to encode further rows."""
    if table is None:
        return ""
    head = ["column", "kind", "rows", "missing", "mean", "sd", "filled with", "categories"]
    rows = [
        [
            column.name,
            column.kind,
            str(column.count),
            str(column.num_missing),
            _short(column.mean),
            _short(column.sd),
            f"{column.filled_with} {_short(column.fill)}" if column.filled_with else "",
            ", ".join([*column.categories, *(["(other)"] if column.has_other else [])]),
        ]
        for column in table
    ]
    note = (
        "Statistics are those of all parties' training rows. Further rows are encoded alike by "
        "`fusion_nb.load_encoding(folder).transform(frame)`, from `encoding.json`."
    )
    return f"\n\n{markdown_table([head, *rows])}\n\n{note}"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _party(party: PartyReport) -> dict[str, Any]:
    kinds = {kind: getattr(party, kind) for kind in KINDS}
    return {
        "party": party.id,
        "num_examples": party.num_examples,
        "num_test": party.num_test,
        "label_counts": party.label_counts,
        **{kind: _finite(metrics) for kind, metrics in kinds.items() if metrics},
        **({"contribution": _finite(party.contribution)} if party.contribution else {}),
        **({} if math.isnan(party.epsilon) else _finite({"epsilon": party.epsilon})),
        **({"is_unseen": True} if party.is_unseen else {}),
    }


def _contributions(found: Contributions) -> dict[str, Any]:
    """Return what contributions cost, and the cross-site matrix: their values are the parties'."""
    if not found.is_measured:
        return {}
    matrix = {model: _finite(dict(row)) for model, row in found.cross_site.items()}
    parts = {"metric": found.metric, "num_trainings": found.num_trainings}
    return {"contributions": {**parts, **({"cross_site": matrix} if matrix else {})}}


def _charts(found: Contributions) -> str:
    """Return the charts of contributions, which stand beside the card."""
    return "".join(
        f"\n\n![{escape_markdown(chart.alt)}]({name}.png)" for name, chart in found.charts().items()
    )


def _finite(metrics: Metrics) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python, of this package, and of others."""
    found = {"python": platform.python_version()}
    for package in ("fusion_nb", "numpy", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a distribution may have another name than its package
            found[package] = str(getattr(sys.modules.get(package), "__version__", "unknown"))
    return found


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
