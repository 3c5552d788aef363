"""A running federation as the kernel sees it: names and nodes, and questions to all of them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Model
from fusion_nb.engines.remote.conversation import Conversation, Question
from fusion_nb.engines.remote.link import Answer, Link
from fusion_nb.engines.remote.open_conversation import OpenConversation
from fusion_nb.errors import OptionError, RunError

#: Seconds between two looks at which nodes there are.
_NODES_SECONDS = 2.0
#: Seconds that a node has to say who it is; one that is silent takes no part.
_DESCRIBE_SECONDS = 20.0
_LOOK_SECONDS = 0.2
#: Bytes that a reply may have: these, and this multiple of those of the request.
_MAX_REPLY, _MAX_TIMES = 1 << 20, 16


@dataclass(frozen=True)
class Described:
    """A node that said who it is.

    facts: about its rows, as `fusion_nb.data.at_party` writes them
    app:   about its ClientApp, where that reads the rows, as `remote_app` reads it
    """

    node: int
    name: str
    num_rows: int
    facts: Sequence[Mapping[str, Any]]
    app: Mapping[str, Any] | None = None


class Session:
    """The nodes of a running federation, over one link.

    prepare: what a node is told before it can train: the schema, and later the model
    nodes:   by the name of the party;  gate: called while it waits
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.nodes: dict[str, int] = {}
        self.prepare: list[dict[str, Any]] = []
        self.gate: Callable[[], None] = _pass
        self._present: tuple[float, frozenset[int]] = (0.0, frozenset())
        self._known: set[int] = set()
        self._silent: set[int] = set()
        #: Nodes that the link still knows, and whose parties are back at others.
        self._replaced: set[int] = set()
        #: Bytes that a reply may have.
        self._most = _MAX_REPLY
        self._conversation = OpenConversation(link, lambda: self.gate(), self.is_gone)
        # Of a run that was refused before it began, say.
        weakref.finalize(self, link.close).atexit = False

    def is_gone(self, node: int) -> str:
        """Return why a node will not answer any more, or "". A node that is new is taken back."""
        present = self.present()
        if self.prepare and present - self._known:
            self.take_back()
        if node in self._replaced:
            return "its node was started anew"
        return "" if node in present else f"its node is gone from {self.link.place}"

    def present(self) -> frozenset[int]:
        """Return the nodes that the link knew a moment ago."""
        then, nodes = self._present
        if time.monotonic() > then + _NODES_SECONDS:
            nodes = frozenset(self.link.nodes())
            self._present = time.monotonic(), nodes
        return nodes

    def wait_for(self, count: int, seconds: float) -> list[Described]:
        """Return at least this many nodes that said who they are.

        Raises RunError where fewer come in time.
        """
        end, found = time.monotonic() + seconds, []
        while True:
            self.gate()
            found += self.describe_new()
            if len(found) >= count:
                return found
            if time.monotonic() > end:
                names = ", ".join(each.name for each in found) or "none"
                raise RunError(
                    f"{count} parties are waited for, and after {seconds:g} s there are "
                    f"{len(found)} ({names})",
                    f"start one with: {self.link.how}",
                )
            time.sleep(_LOOK_SECONDS)
            self._known -= self._silent  # one that is busy may answer the next time

    def describe_new(self) -> list[Described]:
        """Ask nodes that are new who they are; those that do not answer are left out."""
        new = sorted(self.present() - self._known)
        self._known |= set(new)
        content = pack_tree({"ask": "describe"}, "request")
        end = time.monotonic() + _DESCRIBE_SECONDS
        found = []
        self._silent = set(new)
        waiting = Conversation(
            self.link,
            lambda: self.gate(),
            lambda node: "it is silent" if time.monotonic() > end else self.is_gone(node),
        )
        questions = [Question(str(node), node, content) for node in new]
        for name, answer in waiting.ask(questions, max(1, len(questions))):
            tree = _tree(answer)
            if isinstance(tree, dict) and isinstance(tree.get("name"), str):
                facts = tree.get("facts")
                self._silent.discard(int(name))
                count, app = int(tree.get("num_rows", 0)), tree.get("app")
                party = self.link.name_of(int(name)) or tree["name"]
                found.append(Described(int(name), party, count, facts or [], app))
        return found

    def ask(self, contents: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, Any, str]]:
        """Yield the party, the tree in its answer, and a line where there is none, in order.

        A reply that is far larger than the requests so far is not read.
        """

        def questions() -> Iterator[Question]:
            for name, tree in contents:
                content = _packed(tree)
                self._most = max(self._most, _MAX_REPLY + _MAX_TIMES * len(content))
                yield Question(name, self.nodes[name], content)

        for name, answer in self._conversation.ask(questions(), len(self.nodes)):
            yield (name, *_read(answer, self._most))

    def ask_open(
        self, next_content: Callable[[], tuple[str, dict[str, Any]] | None]
    ) -> Iterator[tuple[str, Any, str]]:
        """Yield, as answers come, the party, the tree, and a line where there is none."""

        def next_question() -> Question | None:
            if (found := next_content()) is None:
                return None
            name, content = found[0], _packed(found[1])
            self._most = max(self._most, _MAX_REPLY + _MAX_TIMES * len(content))
            return Question(name, self.nodes[name], content)

        for name, answer in self._conversation.ask_open(next_question):
            yield (name, *_read(answer, self._most))

    def give_up(self) -> None:
        """Let the nodes give up what `ask_open` asked of them."""
        self._conversation.give_up()

    def take_back(self) -> None:
        """Let parties whose nodes are new take part again, under the names that they have."""
        for found in self.describe_new():
            before = self.nodes.get(found.name)
            if before is None or before == found.node:
                continue  # a party that joins later takes part in the next run
            self._replaced.add(before)
            self.nodes[found.name] = found.node
            for tree in self.prepare:
                for _, _, problem in self.ask(iter([(found.name, tree)])):
                    if problem:
                        return

    def close(self) -> None:
        """End the run at the link; the nodes stay."""
        self.link.close()


class RemoteParty(Party):
    """A party whose rows are at its node: here it has stand-ins of the same form and number.

    What it remembers between rounds stays at the node.
    """

    session: Session
    #: Returns what the node is told about the model.
    setup: Callable[[Model], dict[str, Any]]

    @property
    def persistent_state(self) -> Any:
        """Nothing: it is at the node."""
        return None

    @persistent_state.setter
    def persistent_state(self, found: Any) -> None:
        """Keep nothing."""


def _packed(tree: dict[str, Any]) -> bytes:
    try:
        return pack_tree(tree, "request")
    except RunError as error:
        place = str(error.to_dict()["message"]).partition(": ")[2]
        raise OptionError(
            f"this run can't be sent to parties as plain data: {place}",
            "use rules, losses and optimizers of fusion_nb and the framework, by their names",
        ) from error


def _pass() -> None:
    """Let everything pass, before a run has a gate."""


def _read(answer: Answer, most: int) -> tuple[Any, str]:
    """Return the tree in an answer, or None and why there is none.

    most: bytes that it may have
    """
    if len(answer.body) > most:
        return None, f"its reply has {len(answer.body)} bytes, and {most} are allowed"
    tree = _tree(answer)
    if not isinstance(tree, dict):
        return None, answer.error or "its reply can't be read"
    if "refused" in tree:
        return None, f"it refused: {tree['refused']}"
    return tree, ""


def _tree(answer: Answer) -> Any:
    if answer.error:
        return None
    try:
        return unpack_tree(answer.body, "its reply")
    except ValueError:
        return None
