"""A chart: a picture with a sentence that describes it.

It is drawn without pyplot, so that no state is shared with the user's own figures.
"""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fusion_nb.reporting.picture_file import write_picture
from fusion_nb.reporting.templates import render, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches and dots per inch; the same for live and final pictures, or the page would move.
WIDTH, HEIGHT, DPI = 8.4, 3.0, 100
#: Text and axes: a grey between white and the ground of JupyterLab's dark theme, with the same
#: contrast on both, 4.35:1, which is as much as one colour can have.
INK = "#797979"
#: Settings of matplotlib's that are not about what a picture looks like.
_NOT_OURS = ("backend", "interactive", "toolbar", "timezone", "date.", "webagg", "tk.", "keymap.")
#: The settings are global: two threads that draw must not restore each other's.
_LOCK = threading.RLock()
_IMAGE = (
    '<img alt="{{ alt }}" width="{{ width }}" style="max-width:100%;height:auto" '
    'src="data:image/png;base64,{{ source }}">'
    "{% if note %}<div>{{ note }}</div>{% endif %}"
)


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw with matplotlib's defaults in place of the user's settings, and names as they are.

    LaTeX for all text, say, fails where it is not installed; and a name may hold dollar signs.
    """
    import matplotlib

    with _LOCK, matplotlib.rc_context(_defaults()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in another script
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        yield


@functools.cache
def _defaults() -> dict[str, Any]:
    import matplotlib

    defaults = matplotlib.rcParamsDefault
    ours = {name: value for name, value in defaults.items() if not name.startswith(_NOT_OURS)}
    parts = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    inked = dict.fromkeys((*parts, "axes.titlecolor"), INK)
    return ours | inked | {"text.parse_math": False, "axes.facecolor": "none"}


@dataclass
class Chart:
    """A matplotlib Figure with a sentence that describes it; notebooks show both.

    note: a sentence about what is drawn that a reader must know, shown beside it, or ""
    """

    figure: Figure
    alt: str
    note: str = ""

    @cached_property
    @own_settings()
    def png(self) -> bytes:
        """The picture as PNG on a transparent ground, in ink that light and dark pages show."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI, facecolor="none")
        return buffer.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the picture on white; the file's suffix names its format (png, svg, pdf).

        Raises ExportError where it can't be written.
        """
        write_picture(path, self.drawn, self.figure.canvas.get_supported_filetypes())

    @own_settings()
    def drawn(self, format: str) -> bytes:
        """Return the picture on white as a file of a format (png, svg, pdf)."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=format, dpi=DPI, facecolor="white")
        return buffer.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        text = f"{self.alt}. {self.note}" if self.note else self.alt
        return {"image/png": self.png, "text/html": image_tag(self), "text/plain": visible(text)}


def image_tag(chart: Chart) -> Markup:
    """Return an `<img>` that holds the picture itself, with its description as alt text."""
    import base64

    # Alt text inside a PNG is ignored by every front end.
    source = base64.b64encode(chart.png).decode()
    width = round(WIDTH * DPI)
    alt, note = visible(chart.alt), visible(chart.note)
    return render(_IMAGE, alt=alt, width=width, source=source, note=note)
