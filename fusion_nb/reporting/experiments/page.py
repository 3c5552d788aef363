"""The output of an experiment in a notebook: HTML, a picture and text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_nb.reporting.charts import Chart, image_tag
from fusion_nb.reporting.experiments.leaderboard import Leaderboard
from fusion_nb.reporting.formatting import caption_html, html_table
from fusion_nb.reporting.templates import render

_PAGE = (
    '<figure style="margin:0"><figcaption>{{ caption }}</figcaption>{{ image }}</figure>{{ table }}'
    "{% if failed %}<details><summary>{{ failed | length }} failed</summary>"
    '<ul class="tex2jax_ignore">{% for line in failed %}<li>{{ line }}</li>{% endfor %}</ul>'
    "</details>{% endif %}"
)


def output(
    line: str,
    notes: Sequence[str],
    chart: Chart | None,
    board: Leaderboard | None,
    failed: Sequence[str],
    *,
    text: str = "",
) -> dict[str, Any]:
    """Return the mimebundle of an experiment: it needs no kernel, no widget and no trusted page."""
    page = render(
        _PAGE,
        caption=caption_html(line, notes),
        image=image_tag(chart) if chart else "",
        table=html_table(board.table()) if board else "",
        failed=list(failed),
    )
    lines = [line, *(f"  {note}" for note in notes), *([str(board)] if board else [])]
    plain = text or "\n".join([*lines, *(f"failed: {each}" for each in failed)])
    found: dict[str, Any] = {"text/html": str(page), "text/plain": plain}
    return found | ({"image/png": chart.png} if chart else {})
