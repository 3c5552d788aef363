"""The report of an experiment: one HTML page and one notebook, which open without a kernel."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fusion_nb.reporting.charts import Chart, image_tag
from fusion_nb.reporting.experiments.leaderboard import Leaderboard
from fusion_nb.reporting.formatting import Table, html_table, markdown_table
from fusion_nb.reporting.templates import Markdown, render, render_markdown

_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --text: #1b1b1b; --soft: #5f6368;
  --line: #d0d4d9; --box: #f5f6f8; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --ground: #111417; --text: #e6e8ea; --soft: #a3aab2;
  --line: #3a4149; --box: #1b2026; --link: #8ab4f8; } }
body { background: var(--ground); color: var(--text); margin: 0 auto; padding: 1.5rem;
  max-width: 60rem; font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
a { color: var(--link); } p, li { overflow-wrap: anywhere; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } .wide:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 600; text-align: left !important; }
pre { background: var(--box); padding: .8rem; overflow-x: auto; font-size: .85rem; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; }
details { border-top: 1px solid var(--line); padding: .4rem 0; } summary { cursor: pointer; }
@media print { details > *:not(summary) { display: block; } }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: report of an experiment</title><style>{{ style }}</style></head>
<body><main>
<h1>{{ title }}</h1>
<p>{{ headline }}</p>
<p class="soft">Written {{ created }} with {{ versions }} on {{ machine }}.</p>
{% if notes %}<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
<h2>Results</h2>
<div class="wide" tabindex="0" role="region" aria-label="results">{{ results }}</div>
{% if has_winner %}<p class="soft">* better than every other by the test below.</p>{% endif %}
<ul>{% for note in tests %}<li>{{ note }}</li>{% endfor %}</ul>
<h2>Charts</h2>
{% for caption, image in charts %}
<figure><figcaption>{{ caption }}</figcaption>{{ image }}</figure>
{% endfor %}
<h2>All runs</h2>
<div class="wide" tabindex="0" role="region" aria-label="all runs">{{ runs }}</div>
{% if failed %}<h2>Runs that failed</h2>
<ul>{% for line in failed %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
<h2>To repeat it</h2>
{% if given %}<p>{{ given }}</p>{% endif %}
<pre>%load_ext fusion_nb</pre>
<pre>{{ cell }}</pre>
<details><summary>All options as YAML</summary><pre>{{ yaml }}</pre></details>
<h2>Cards</h2>
{% for name, card in cards %}
<details><summary>{{ name }}</summary><pre>{{ card }}</pre></details>
{% endfor %}
</main></body></html>
"""
_TOP = """# {{ title }}

{{ headline }}

Written {{ created }} with {{ versions }} on {{ machine }}.
{% for note in notes %}
- {{ note }}
{% endfor %}

## Results
{{ results }}
{% for note in tests %}
- {{ note }}
{% endfor %}
"""
_REPEAT = """## To repeat it
{% if given %}{{ given }} {% endif %}Run the two cells below. The output that stands there is that \
of the experiment.
"""
_CARDS = """## Cards
{% for name, card in cards %}
<details><summary>{{ name }}</summary>

```
{{ card }}
```
</details>

{% endfor %}
"""


@dataclass(frozen=True)
class ReportContent:
    """All that a report tells.

    title, headline, notes: of the experiment;  board, tests: its table, and sentences about it
    charts:     caption -> picture
    runs:       a table with a row for each run;  failed: a line for each that failed
    cell, yaml: text that repeats it
    cards:      name -> text;  origin: created, versions and machine, in words
    """

    title: str
    headline: str
    notes: Sequence[str]
    board: Leaderboard
    tests: Sequence[str]
    charts: Mapping[str, Chart]
    runs: Table
    failed: Sequence[str]
    cell: str
    yaml: str
    cards: Mapping[str, str]
    origin: Mapping[str, str]

    @property
    def _results(self) -> Table:
        return self.board.table(len(self.board.rows))

    @property
    def _given(self) -> str:
        """Return what the reader must put into the text that repeats the experiment, or ""."""
        if "given_" not in self.cell:
            return ""
        return (
            "It was called from Python with objects: put yours in place of the names that begin "
            "with given_."
        )

    def html(self) -> str:
        """Return the page. Nothing in it is loaded from elsewhere, and nothing is a script."""
        return str(
            render(
                _PAGE,
                style=Markup(_STYLE),
                title=self.title,
                headline=self.headline,
                notes=self.notes,
                results=html_table(self._results),
                tests=self.tests,
                has_winner=bool(self.board.winner),
                charts=[(caption, image_tag(chart)) for caption, chart in self.charts.items()],
                runs=html_table(self.runs),
                failed=self.failed,
                given=self._given,
                cell=self.cell,
                yaml=self.yaml,
                cards=list(self.cards.items()),
                **self.origin,
            )
        )

    def notebook(self) -> str:
        """Return the notebook, with the charts as outputs of the cell that repeats all."""
        top = render_markdown(
            _TOP,
            title=self.title,
            headline=self.headline,
            notes=self.notes,
            results=Markdown(markdown_table(self._results)),
            tests=self.tests,
            **self.origin,
        )
        cards = [(name, Markdown(card.replace("```", "'''"))) for name, card in self.cards.items()]
        runs = f"## All runs\n{markdown_table(self.runs)}"
        cells = [
            _markdown(top),
            _markdown(render_markdown(_REPEAT, given=self._given)),
            _code("%load_ext fusion_nb", []),
            _code(self.cell, [_output(caption, chart) for caption, chart in self.charts.items()]),
            _markdown(runs),
            _markdown(render_markdown(_CARDS, cards=cards)),
        ]
        for number, cell in enumerate(cells):
            cell["id"] = f"report-{number}"
        language = {"name": "python"}
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = {
            "cells": cells,
            "metadata": {"kernelspec": kernel, "language_info": language},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        return json.dumps(notebook, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": outputs,
        "source": text.splitlines(keepends=True),
    }


def _output(caption: str, chart: Chart) -> dict[str, Any]:
    html = render("<p>{{ caption }}</p>{{ image }}", caption=caption, image=image_tag(chart))
    data = {
        "text/html": str(html).splitlines(keepends=True),
        "text/plain": [f"{caption}. {chart.alt}"],
        "image/png": base64.b64encode(chart.png).decode(),
    }
    return {"output_type": "display_data", "data": data, "metadata": {}}
