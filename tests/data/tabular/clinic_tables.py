"""Tables as users have them, and what their encodings are when all rows lie in one place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fusion_nb.core.types.table import TableSchema
from fusion_nb.data.tabular.auto import Auto
from fusion_nb.data.tabular.columns import agree_on_forms, conform, read_table
from fusion_nb.data.tabular.sums import PartyTable


def clinic(count: int = 300, seed: int = 0) -> pd.DataFrame:
    """A table with every kind of column, and with gaps."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 12, count),
            "visits": pd.array(rng.integers(0, 9, count), dtype="Int64"),
            "city": rng.choice(["Oslo", "Rome", "Bonn"], count, p=[0.5, 0.3, 0.2]),
            "smoker": rng.random(count) < 0.3,
            "joined": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, count), unit="D"),
            "hospital": rng.choice(["east", "north", "west"], count),
            "sick": np.where(rng.random(count) < 0.3, "yes", "no"),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "visits"] = pd.NA
    frame.loc[::13, "city"] = None
    return frame


def fitted(frames: Sequence[pd.DataFrame], **options: Any) -> tuple[TableSchema, np.ndarray]:
    """The encoding of several parties' training rows, and all of these rows encoded."""
    tables = [read_table(frame, f"party {i}") for i, frame in enumerate(frames)]
    forms = agree_on_forms(tables)
    columns = [conform(table, forms) for table in tables]
    schema = Auto(**options).fit([PartyTable(part) for part in columns], forms)
    return schema, np.concatenate([schema.encode(part) for part in columns])


def shares(frame: pd.DataFrame, num_parties: int = 3) -> list[pd.DataFrame]:
    """A frame in parts of different sizes."""
    whole = num_parties * (num_parties + 1)
    edges = [len(frame) * i * (i + 1) // whole for i in range(num_parties + 1)]
    return [frame.iloc[a:b] for a, b in itertools.pairwise(edges)]
