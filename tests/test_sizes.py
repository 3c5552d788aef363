"""Sizes of classes and files: a class with many methods or fields, or a long file, is two ideas."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass

import pytest
from architecture import MODULES, PACKAGE

#: Methods of a class (properties and overloads included), its fields, and lines of a file, at most.
MOST_METHODS, MOST_FIELDS, MOST_LINES = 18, 12, 360


@dataclass(frozen=True)
class Exempt:
    """A class that may be larger, up to these numbers, with the reason."""

    reason: str
    methods: int = MOST_METHODS
    fields: int = MOST_FIELDS


_ADAPTER = "a method for each question of the contract: what does the work is parts that it holds"
_USERS_HOLD = "users hold it: each member is a name that they type, and asks a part in one line"
_RECORD = "a record: each field is a fact that readers look up by its name"
#: Class -> why it is larger, and how large it may be.
EXEMPT = {
    "models/torch/adapter.py:TorchModel": Exempt(_ADAPTER, methods=31, fields=21),
    "models/keras/adapter.py:KerasModel": Exempt(_ADAPTER, methods=25, fields=22),
    "models/sklearn/adapter.py:SklearnModel": Exempt(_ADAPTER, methods=25, fields=22),
    "models/boosting.py:BoostingModel": Exempt(_ADAPTER, methods=21, fields=14),
    "models/doc2vec/adapter.py:Doc2VecModel": Exempt(_ADAPTER, methods=20, fields=22),
    "algorithms/ensembles/model.py:EnsembleModel": Exempt(_ADAPTER, fields=20),
    "models/base.py:Model": Exempt("the members that an adapter may override", methods=19),
    "models/kind.py:ModelKind": Exempt("the facts that an adapter may state", fields=16),
    "runs/checkpoints/rounds.py:SavedRounds": Exempt(
        "a source around another one answers for each of its members", methods=20
    ),
    "runs/run.py:Run": Exempt(_USERS_HOLD, methods=25),
    "runs/experiments/experiment.py:Experiment": Exempt(_USERS_HOLD, methods=25),
    "notebook/panel/run_view.py:RunView": Exempt("the widgets that show a run", fields=13),
    "notebook/panel/view.py:View": Exempt("the parts that stand in a panel", fields=13),
    "notebook/panel/panel.py:Panel": Exempt(_USERS_HOLD, methods=21),
    "core/facts.py:Facts": Exempt(_RECORD, fields=13),
    "core/types/table.py:ColumnSchema": Exempt(_RECORD, fields=13),
    "runs/spec/run_spec.py:RunSpec": Exempt("each field is an option of a run", fields=64),
    "reporting/result.py:Result": Exempt(_RECORD, fields=17),
    "runs/checkpoints/checkpoint.py:Checkpoint": Exempt(_RECORD, fields=14),
    "service/api/schemas.py:Status": Exempt(_RECORD, fields=13),
    "core/types/training.py:LocalContext": Exempt(_RECORD, fields=14),
}


@dataclass(frozen=True)
class Size:
    methods: int
    fields: int


def classes(source: str) -> dict[str, Size]:
    """The sizes of all classes in a source, those inside functions and classes included."""
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))
    return {node.name: Size(len(methods(node)), len(fields(node))) for node in found}


def methods(node: ast.ClassDef) -> list[str]:
    return [
        inner.name
        for inner in node.body
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def fields(node: ast.ClassDef) -> set[str]:
    """The names that the class's body or its methods give a value or a type."""
    in_body = {
        target.id
        for statement in node.body
        for target in targets(statement)
        if isinstance(target, ast.Name)
    }
    stored = (
        inner
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
    )
    return in_body | {
        inner.attr
        for inner in stored
        if isinstance(inner.value, ast.Name) and inner.value.id == "self"
    }


def targets(statement: ast.stmt) -> list[ast.expr]:
    """The targets of an assignment, those inside tuples included."""
    match statement:
        case ast.AnnAssign():
            return [statement.target]
        case ast.Assign():
            return [
                name
                for target in statement.targets
                for name in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
        case _:
            return []


def too_large(name: str, size: Size) -> bool:
    allowed = EXEMPT.get(name, Exempt(""))
    return size.methods > allowed.methods or size.fields > allowed.fields


@functools.cache
def found() -> dict[str, Size]:
    """Return the sizes of all classes of the package."""
    return {
        f"{module}:{name}": size
        for module in MODULES
        for name, size in classes((PACKAGE / module).read_text(encoding="utf-8")).items()
    }


def test_no_class_is_several_ideas() -> None:
    large = {name: size for name, size in found().items() if too_large(name, size)}
    assert not large, (
        f"over {MOST_METHODS} methods or {MOST_FIELDS} fields: {large}; "
        "give a part of it a class of its own"
    )


def test_no_file_is_several_ideas() -> None:
    lines = {
        module: len((PACKAGE / module).read_text(encoding="utf-8").splitlines())
        for module in MODULES
    }
    long = {module: count for module, count in lines.items() if count > MOST_LINES}
    assert not long, f"over {MOST_LINES} lines: {long}; give a part of it a file of its own"


def test_every_exemption_is_needed_and_has_a_reason() -> None:
    assert EXEMPT.keys() <= found().keys(), "an exemption is of a class that is gone"
    for name, exempt in EXEMPT.items():
        size = found()[name]
        assert size.methods > MOST_METHODS or size.fields > MOST_FIELDS, (
            f"{name} is small enough now: remove its exemption"
        )
        assert exempt.reason


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ("class A:\n    def a(self): ...\n    @property\n    def b(self): ...", Size(2, 0)),
        ("class A:\n    async def a(self): ...", Size(1, 0)),
        (
            "class A:\n    @overload\n    def a(self, x: int): ...\n    def a(self, x): ...",
            Size(2, 0),
        ),
        ("class A:\n    x: int\n    y, z = 1, 2", Size(0, 3)),
        ("class A:\n    def __init__(self):\n        self.x, self._y = 1, 2", Size(1, 2)),
        ("class A:\n    x: int = 0\n    def a(self):\n        self.x = other.y = 1", Size(1, 1)),
    ],
)
def test_methods_and_fields_are_counted(source: str, size: Size) -> None:
    assert classes(source) == {"A": size}


def test_a_class_that_grows_is_found() -> None:
    grown = "class A:\n" + "\n".join(f"    def m{i}(self): ..." for i in range(MOST_METHODS + 1))
    wide = "class A:\n" + "\n".join(f"    x{i}: int" for i in range(MOST_FIELDS + 1))
    assert too_large("a.py:A", classes(grown)["A"])
    assert too_large("a.py:A", classes(wide)["A"])
    assert not too_large("a.py:A", Size(MOST_METHODS, MOST_FIELDS))
