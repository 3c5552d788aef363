"""YAML from people who are not trusted: plain values, no larger than their text."""

from __future__ import annotations

from typing import Any

from fusion_nb.errors import OptionError

#: Values in a text, of which those that are repeated by an alias count each time.
_MAX_VALUES = 100_000
_HINT = "see run.spec.to_yaml()"


def parse_documents(text: str) -> list[Any]:
    """Return the values of all documents in YAML text.

    Raises OptionError for text that is no YAML, or so nested or repeated that reading it would not
    end.
    """
    import yaml  # a run that no file describes does without

    try:
        loader = yaml.SafeLoader(text)
        found = []
        while loader.check_node():
            node = loader.get_node()
            if _count(node, {}) > _MAX_VALUES:
                raise OptionError(
                    f"the file holds more than {_MAX_VALUES:,} values, most of them by aliases",
                    "write each value once",
                )
            found.append(loader.construct_document(node))
        return found
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise OptionError(f"the file is not YAML{line}: {why}", _HINT) from None
    except RecursionError:
        raise OptionError("the file is nested too deeply, or holds itself", _HINT) from None
    except (ValueError, OverflowError, TypeError) as error:  # of a number or a date
        why = str(error).partition(";")[0][:100]
        raise OptionError(f"the file holds a value that can't be read: {why}", _HINT) from None


def _count(node: Any, known: dict[int, int]) -> int:
    """Return the values in a node as they are written out without aliases.

    known: the counts of the nodes that were met, by their identity
    """
    if isinstance(node.value, str):
        return 1
    if id(node) not in known:
        known[id(node)] = 1  # one that holds itself
        parts = [
            part for item in node.value for part in (item if isinstance(item, tuple) else [item])
        ]
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(node)]
