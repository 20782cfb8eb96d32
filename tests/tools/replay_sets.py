"""Which expressions are sets, as far as one can see without running them: the half of the replay check that types.

A `Kind` is what an expression holds: a set, a mapping whose values are of a kind, or a sequence whose elements are.
Kinds come from literals, calls of `set` and its like, set operators (also between dictionary views), annotations of
names, parameters, attributes and results. Attributes and functions are known by their names over the whole tree, but
only where every annotation of that name agrees. A protobuf message's map field counts as a set: its order depends on
where the process was loaded.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

GENERATED = Path(__file__).resolve().parents[2] / "kraftpy" / "pb"


class Shape(Enum):
    SET = "set"
    MAP = "map"
    SEQUENCE = "sequence"
    MESSAGE = "protobuf message, or a repeated field of them"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Kind:
    """`inner`: of a mapping's values or a sequence's elements."""

    shape: Shape
    inner: "Kind | None" = None


SET = Kind(Shape.SET)
OTHER = Kind(Shape.OTHER)
MESSAGE = Kind(Shape.MESSAGE)

SET_TYPES = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet", "WeakSet", "KeysView"}
SET_TYPES_ITERATED_IN_ORDER = {"KeysView"}  # a dictionary's keys keep their order: only operators make sets of them
MAP_TYPES = {"dict", "Dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict", "Counter", "SortedDict"}
SEQUENCE_TYPES = {"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Iterator", "Collection", "deque"}
WRAPPERS = {"Optional", "Final", "ClassVar", "Annotated", "Awaitable", "Required", "ReadOnly"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference", "copy"}
MAP_VIEWS = {"keys", "items", "values"}  # of a message's map field
SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)


@cache
def map_fields() -> frozenset[str]:
    """The names of all map fields, from the types of the generated code."""
    pattern = re.compile(r"def (\w+)\(self\) -> [\w.]*\.(?:Scalar|Message)Map\[")
    return frozenset(name for path in GENERATED.glob("*.pyi") for name in pattern.findall(path.read_text()))


class Knowledge:
    """What the annotations of the whole tree say of attributes and functions, by name."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self.attributes: dict[str, Kind] = {}
        self.functions: dict[str, Kind] = {}
        for tree in trees:
            for node in ast.walk(tree):
                self._learn(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    _agree(self.attributes, statement.target.id, annotation_kind(statement.annotation))
                elif isinstance(statement, ast.FunctionDef) and _is_property(statement):
                    _agree(self.attributes, statement.name, annotation_kind(statement.returns))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            _agree(self.attributes, node.target.attr, annotation_kind(node.annotation))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            kind = literal_kind(node.value)
            if kind is not OTHER:
                _agree(self.attributes, node.targets[0].attr, kind)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _agree(self.functions, node.name, annotation_kind(node.returns))


def _agree(known: dict[str, Kind], name: str, kind: Kind) -> None:
    known[name] = kind if known.get(name, kind) == kind else OTHER


def _is_property(function: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def annotation_kind(annotation: ast.expr | None) -> Kind:
    """What an annotation promises."""
    match annotation:
        case ast.Constant(value=str(text)):
            try:
                return annotation_kind(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return OTHER
        case ast.Attribute(value=ast.Name(id=module)) if module.endswith("_pb2"):
            return MESSAGE
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return SET if name in SET_TYPES - SET_TYPES_ITERATED_IN_ORDER else OTHER
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return next((kind for side in (left, right) if (kind := annotation_kind(side)) is not OTHER), OTHER)
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            return _subscript_kind(name, list(inner.elts) if isinstance(inner, ast.Tuple) else [inner])
    return OTHER


def _subscript_kind(name: str, arguments: list[ast.expr]) -> Kind:
    if name in SET_TYPES - SET_TYPES_ITERATED_IN_ORDER:
        return SET
    if name in WRAPPERS:
        return annotation_kind(arguments[0])
    if name in MAP_TYPES:
        return _holding(Shape.MAP, annotation_kind(arguments[-1]))
    if name in SEQUENCE_TYPES:
        kinds = [annotation_kind(argument) for argument in arguments if not _is_ellipsis(argument)]
        return _holding(Shape.SEQUENCE, kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else OTHER)
    return OTHER


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _holding(shape: Shape, inner: Kind) -> Kind:
    return OTHER if inner is OTHER else Kind(shape, inner)


def literal_kind(value: ast.expr) -> Kind:
    """A set that shows without knowing any name."""
    match value:
        case ast.Set() | ast.SetComp():
            return SET
        case ast.Call(func=ast.Name(id="set" | "frozenset" | "WeakSet") | ast.Attribute(attr="WeakSet")):
            return SET
        case ast.Call(func=ast.Name(id="defaultdict") | ast.Attribute(attr="defaultdict"), args=[ast.Name(id="set")]):
            return Kind(Shape.MAP, SET)
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            for keyword in keywords:
                if keyword.arg == "default_factory" and isinstance(keyword.value, ast.Name):
                    return SET if keyword.value.id in ("set", "frozenset") else OTHER
    return OTHER


class Scope:
    """The kinds of local names, in the order of the text; an inner scope sees the outer ones."""

    def __init__(self, knowledge: Knowledge, outer: "Scope | None" = None) -> None:
        self.knowledge = knowledge
        self.names: dict[str, Kind] = dict(outer.names) if outer else {}
        self.own: dict[str, Kind] = outer.own if outer else {}  # attributes of the class around, for `self.name`

    def kind(self, node: ast.expr | None) -> Kind:
        """What an expression holds."""
        if node is None or (kind := literal_kind(node)) is not OTHER:
            return OTHER if node is None else kind
        match node:
            case ast.Name(id=name):
                return self.names.get(name, OTHER)
            case ast.Attribute(value=owner, attr=name) if self.kind(owner) == MESSAGE:
                return SET if name in map_fields() else MESSAGE
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if name in self.own:
                return self.own[name]
            case ast.Attribute(attr=name):
                return self.knowledge.attributes.get(name, OTHER)
            case ast.NamedExpr(value=value) | ast.Await(value=value) | ast.Starred(value=value):
                return self.kind(value)
            case ast.BinOp(left=left, op=operator, right=right) if isinstance(operator, SET_OPERATORS):
                views = _is_view(left) or _is_view(right)
                return SET if views or SET in (self.kind(left), self.kind(right)) else OTHER
            case ast.IfExp(body=body, orelse=other):
                return SET if SET in (self.kind(body), self.kind(other)) else OTHER
            case ast.BoolOp(values=values):
                return SET if any(self.kind(value) == SET for value in values) else OTHER
            case ast.GeneratorExp(generators=generators):
                return self._generator_kind(generators)
            case ast.Subscript(value=value):
                kind = self.kind(value)
                return MESSAGE if kind == MESSAGE else kind.inner or OTHER
            case ast.Call():
                return self._call_kind(node)
        return OTHER

    def _generator_kind(self, generators: list[ast.comprehension]) -> Kind:
        """A generator over a set has the set's order: it counts as one."""
        inside = Scope(self.knowledge, self)
        for generator in generators:
            if inside.kind(generator.iter) == SET:
                return SET
            inside.assign_elements(generator.target, generator.iter)
        return OTHER

    def _call_kind(self, call: ast.Call) -> Kind:
        match call.func:
            case ast.Attribute(value=ast.Name(id=module)) if module.endswith("_pb2"):
                return MESSAGE
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=module)), attr="FromString"):
                return MESSAGE if module.endswith("_pb2") else OTHER
            case ast.Attribute(value=owner, attr=method):
                kind = self.kind(owner)
                if kind == SET and method in SET_METHODS | MAP_VIEWS:
                    return SET
                if kind.shape is Shape.MAP and method in ("get", "pop", "setdefault"):
                    return kind.inner or OTHER
                if kind.shape is Shape.MAP and method in ("values", "items"):
                    return Kind(Shape.SEQUENCE, kind.inner)
                return self.knowledge.functions.get(method, OTHER)
            case ast.Name(id="cast"):
                return annotation_kind(call.args[0]) if call.args else OTHER
            case ast.Name(id=name):
                return self.knowledge.functions.get(name, OTHER)
        return OTHER

    def assign(self, target: ast.expr, kind: Kind) -> None:
        """A name gets a value of that kind."""
        match target:
            case ast.Name(id=name):
                self.names[name] = kind
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                inner = kind.inner if kind.shape is Shape.SEQUENCE and kind.inner else OTHER
                for element in elements:
                    self.assign(element, inner)

    def assign_elements(self, target: ast.expr, iterated: ast.expr) -> None:
        """A loop's target gets the elements of what is iterated."""
        kind = self.kind(iterated)
        inner = kind.inner if kind.shape is Shape.SEQUENCE and kind.inner else MESSAGE if kind == MESSAGE else OTHER
        if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Attribute):
            pairs = iterated.func.attr == "items" and isinstance(target, ast.Tuple) and len(target.elts) == 2
            if pairs and isinstance(target, ast.Tuple):
                self.assign(target.elts[0], OTHER)
                self.assign(target.elts[1], inner)
                return
        self.assign(target, inner)


def _is_view(node: ast.expr) -> bool:
    """`mapping.keys()`: its operators make sets."""
    match node:
        case ast.Call(func=ast.Attribute(attr="keys" | "items"), args=[]):
            return True
    return False


def parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    """All parameters of a function."""
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
