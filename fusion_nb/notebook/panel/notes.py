"""The notes of a run in a panel: few in sight, all others behind a disclosure."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import Markup

from fusion_nb.reporting.templates import render, visible

#: Notes in sight, besides warnings, where there are more than one beyond them.
_IN_SIGHT = 4
_NOTES = """\
<div class="tex2jax_ignore" style="opacity:.8;line-height:1.5;white-space:normal">\
{% for note in shown %}<div>{{ note }}</div>{% endfor %}\
{% if folded %}<details><summary>{{ folded | length }} more notes, on {{ topics }}</summary>\
{% for note in folded %}<div>{{ note }}</div>{% endfor %}</details>{% endif %}</div>"""


@lru_cache(maxsize=16)  # they are asked for with each text, and hardly ever differ
def notes_html(notes: tuple[str, ...]) -> Markup:
    """Return notes as HTML, "" for none. Warnings are always in sight."""
    if not notes:
        return Markup()
    in_sight = set(notes[:_IN_SIGHT]) | {note for note in notes if note.startswith("warning")}
    folded = [note for note in notes if note not in in_sight]
    if len(folded) == 1:  # its line needs no more room than the disclosure's
        in_sight, folded = set(notes), []
    shown = [visible(note) for note in notes if note in in_sight]
    # A note begins with its topic: "privacy: ...", "engine: ...".
    topics = ", ".join(dict.fromkeys(note.partition(" ")[0].rstrip(":") for note in folded))
    return render(_NOTES, shown=shown, folded=list(map(visible, folded)), topics=visible(topics))
