"""The report of an experiment in Chromium, light and dark: it fits, and loads nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import MARKS

import fusion_nb

pytestmark = [*MARKS, pytest.mark.pictures]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_fits_and_loads_nothing(
    page: Any, net: Callable[..., Any], rows: Any, tmp_path: Path, scheme: str
) -> None:
    made = fusion_nb.sweep(net(), rows, lr=[0.05, 0.1], seeds="0-1", rounds=2, parties=2)
    made.report(tmp_path / "report")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.set_viewport_size({"width": 1024, "height": 700})
    page.emulate_media(color_scheme=scheme)
    page.goto((tmp_path / "report/report.html").as_uri())
    assert [url for url in requested if not url.startswith("data:")] == requested[:1]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1024
    ground, ink = (
        np.mean(
            [
                int(part)
                for part in page.evaluate(f"getComputedStyle(document.body).{part}")[4:-1].split(
                    ","
                )
            ]
        )
        for part in ("backgroundColor", "color")
    )
    assert (ground > ink) == (scheme == "light")
    assert abs(ground - ink) > 150
    broken = "[...document.images].filter(each => !each.complete || !each.naturalWidth).length"
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.images.length") == 5
