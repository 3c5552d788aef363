"""Names of parties and labels are shown as they are in card, page, charts and tables."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import fusion_nb
from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting import card, charts
from fusion_nb.reporting.parties import Parties, PartyReport
from fusion_nb.reporting.result import Result
from fusion_nb.reporting.templates import escape_markdown, shortened, visible

pytestmark = pytest.mark.pictures

NAMES = {
    "script": "<script>alert(1)</script>",
    "image": '<img src=x onerror="alert(1)">',
    "closing": "</td></tr></table><h1>x",
    "comment": "<!-- hidden",
    "quotes": "a\" b' c",
    "newlines": "c\n\n# d\r\n- e",
    "pipe": "a | b || c",
    "backslash": "a\\| b \\",
    "backticks": "```\n`code`",
    "link": "[x](javascript:alert(1)) ![y](z)",
    "emphasis": "**bold** _it_ ~~no~~",
    "heading": "# heading",
    "quote": "> quote",
    "list": "1. one",
    "entity": "&lt;b&gt; &#60;",
    "mathematics": "$\\frac$ $_$ $5 to $10",
    "long": "x" * 5000,
    "right to left": "\u202egnp.exe",
    "hebrew": "\u05d0\u05d1\u05d2",
    "zero width": "a\u200bb\ufeff\u2060",
    "control": "a\x00\x1b[31m\x07",
    "surrogate": "a\ud800b",
    "chinese": "北京 🏥",
    "template": "{{ 7 * 7 }} {% raw %}",
    "formula": "=cmd|' /C calc'!A0",
    "underscore": "_hidden",
    "blank": " ",
}
#: Names that are drawn in one picture.
GROUPS = [list(NAMES.values())[start : start + 9] for start in range(0, len(NAMES), 9)]
PAIRS = list(itertools.zip_longest(*[iter(NAMES.values())] * 2, fillvalue="other"))


def result_of(name: str, other: str = "other") -> Result:
    metrics = {party: {"local_accuracy": 0.5} for party in (name, other)}
    records = [
        RoundRecord(
            number,
            {"loss": 0.5, "accuracy": 0.75},
            metrics,
            (name, other),
            0.1,
            400,
            400,
            changes={"fraction": name} if number == 2 else {},
        )
        for number in (1, 2, 3)
    ]
    reports = [
        PartyReport(party, 10, 5, {name: 4}, fused={"accuracy": 0.7}) for party in (name, other)
    ]
    return Result(
        name=name,
        spec={"seed": 0, "data": name},
        chosen={"fusion": "fedavg"},
        cell=f"%fusion run --data '{name}'",
        status="finished",
        reason=name,
        planned=3,
        monitor="accuracy",
        metrics=("loss", "accuracy"),
        best_round=1,
        history=History(records),
        parties=Parties(reports),
        notes=[f"party {name} did nothing", name],
        initial_sha256="0" * 64,
    )


class Tags(HTMLParser):
    """Collects the tags of a page and the text of its cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.heads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "th":
            self.heads.append(data)


@pytest.fixture(scope="module")
def plain_tags() -> list[str]:
    """The tags of the page of a usual name."""
    return Tags(result_of("p").mimebundle()["text/html"]).tags


@pytest.fixture(scope="module")
def plain_chart() -> bytes:
    """The chart of a usual name, drawn with matplotlib's own settings."""
    return charts.curves(curves_of("p"), ("loss", "accuracy")).png


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
class TestNames:
    def test_a_card_has_the_same_blocks_whatever_the_name_is(self, name: str) -> None:
        def lines(party: str) -> list[str]:
            made = card.as_dict(result_of(party), {}, 1, files={}, packages=())
            return card.as_markdown(made, result_of(party)).splitlines()

        def shape(line: str) -> tuple[int, bool, bool]:
            plain = line.replace("\\\\", "").replace("\\|", "")
            if line.startswith("%fusion"):
                return 0, False, False
            return plain.count("|"), line.startswith("#"), line.startswith("```")

        start = "\n".join(lines(name)).index("## Options")
        text = "\n".join(lines(name))
        outside = text[: text.index("```")] + text[start:]
        for tag in ("<script", "<img", "<!--", "</td", "<h1"):
            assert tag not in outside
        inside = sum(line in ("```",) for line in lines(name))
        assert inside == 2
        extra = len(f"%fusion run --data '{name}'".splitlines()) - 1
        assert len(lines(name)) == len(lines("party 1")) + extra
        if not extra:
            assert list(map(shape, lines(name))) == list(map(shape, lines("party 1")))

    def test_a_page_has_the_same_tags_whatever_the_name_is(
        self, name: str, plain_tags: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(charts.Chart, "png", b"drawn by other tests")
        bundle = result_of(name).mimebundle()
        found = Tags(bundle["text/html"])
        assert found.tags == plain_tags
        assert shortened(name, 60) in found.heads
        bundle["text/html"].replace("\ud800", "").encode()

    def test_history_and_parties_are_written_and_read(self, name: str, tmp_path: Path) -> None:
        result = result_of(name)
        rows = list(csv.reader(io.StringIO(result.history.to_frame().to_csv(), newline="")))
        assert len({len(row) for row in rows}) == 1
        assert len(rows) == 4
        assert json.loads(result.history.to_json())[0]["cohort"] == [name, "other"]
        shown = name.encode(errors="backslashreplace").decode()
        assert list(result.parties.to_frame().index) == [shown, "other"]
        page = result.parties._repr_html_()
        assert "<script" not in page
        assert "<img" not in page


def curves_of(name: str) -> History:
    return result_of(name).history


class TestCharts:
    """Many names in one picture, since drawing is slow."""

    @pytest.fixture(autouse=True)
    def _no_warnings(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield

    @pytest.mark.parametrize("names", GROUPS)
    def test_parties_and_classes_of_a_split(self, names: list[str]) -> None:
        counts = {name: {0: 2, number: 1} for number, name in enumerate(names, 1)}
        chart = charts.split(counts, dict.fromkeys(names, 3), dict(enumerate(["b", *names])))
        assert chart.png.startswith(b"\x89PNG")
        texts = [label.get_text().strip() for label in chart.figure.axes[0].get_yticklabels()]
        assert {shortened(name, 30).strip() for name in names} <= set(texts)

    @pytest.mark.parametrize("names", GROUPS)
    def test_runs_that_are_compared(self, names: list[str]) -> None:
        runs = {name: curves_of(name) for name in names}
        chart = charts.compare(runs, ("loss", "accuracy"))
        assert chart.png.startswith(b"\x89PNG")
        (legend,) = chart.figure.legends
        assert len(legend.get_texts()) == len(names)

    @pytest.mark.parametrize("pair", PAIRS)
    def test_parties_of_a_run(self, pair: tuple[str, str]) -> None:
        curves = charts.curves(result_of(*pair).history, ("loss", "accuracy"))
        assert curves.png.startswith(b"\x89PNG")

    @pytest.mark.parametrize("name", ["a\x1b[2J", "a\0b", "a\u202eb", "a\nb"])
    def test_the_sentence_of_a_chart_does_not_steer_a_terminal(self, name: str) -> None:
        chart = charts.confusion(np.eye(2, dtype=int), [name, "b"], "run")
        bundle = chart._repr_mimebundle_()
        assert bundle["text/plain"].isprintable()
        assert visible(name) in bundle["text/plain"]
        assert html.escape(visible(name)) in str(bundle["text/html"])


class TestText:
    def test_what_can_not_be_seen_is_written_as_an_escape(self) -> None:
        assert visible("a\u200bb") == "a\\u200bb"
        assert visible("\u202egnp") == "\\u202egnp"
        assert visible("北京 Müller نص") == "北京 Müller نص"

    def test_joined_letters_and_pictures_stay_as_they_are(self) -> None:
        assert visible("👩\u200d⚕️") == "👩\u200d⚕️"

    @pytest.mark.parametrize(
        "text", ["batch_size 0.1", "loss < 0.2", "-0.5", "a & b", "R&D", "1.5"]
    )
    def test_usual_text_is_not_changed(self, text: str) -> None:
        assert escape_markdown(text) == text


class TestSettings:
    @pytest.mark.parametrize(
        "settings",
        [
            {"text.usetex": True},
            {"font.size": 90.0},
            {"axes.prop_cycle": matplotlib.cycler(color=["white"])},
            {"axes.formatter.use_mathtext": True},
            {"figure.facecolor": "black", "text.color": "white"},
            {"font.family": ["no such font"]},
            {"figure.autolayout": True},
            {"savefig.bbox": "tight"},
        ],
        ids=lambda settings: next(iter(settings)),
    )
    def test_the_users_settings_do_not_change_a_chart(
        self, plain_chart: bytes, settings: dict[str, Any]
    ) -> None:
        with matplotlib.rc_context(settings):
            before = dict(matplotlib.rcParams)
            assert charts.curves(curves_of("p"), ("loss", "accuracy")).png == plain_chart
            assert dict(matplotlib.rcParams) == before


def test_a_run_with_such_names_is_exported(tmp_path: Path, net: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)).astype(np.float32), np.arange(40) % 3
    names = [name for name in NAMES.values() if "\ud800" not in name]
    run = fusion_nb.federate(net(), dict.fromkeys(names, (x, y)), rounds=1)
    run.export(str(tmp_path / "fused"))
    text = (tmp_path / "fused" / "CARD.md").read_text(encoding="utf-8")
    table = text.split("## Parties")[1].split("\n\nLocal")[0].strip().splitlines()
    assert len(table) == len(names) + 2
    stored = json.loads((tmp_path / "fused" / "card.json").read_text(encoding="utf-8"))
    assert [party["party"] for party in stored["parties"]] == names
    assert html.escape(NAMES["script"]) in run.parties._repr_html_()
