"""Refuses, in code that runs in the simulation, what makes two runs of one seed differ.

    python -m tests.tools.replay_check [FILE ...]

Without files: the whole tree that is simulated. Prints `file:line: what is wrong` and exits with 1 if anything is.

Refused are: everything whose result depends on the order of a set (iterating, unpacking, joining, `pop`, sorting or
choosing by a key, since ties keep the set's order; `any`, `len`, `in`, plain `sorted` and building other sets are
fine); asyncio's helpers that walk sets inside (`as_completed`, `TaskGroup`); clocks, randomness, ids and entropy of the
process; `hash` of anything and `id` of anything; threads, processes, sockets and files.

A line with the comment `# replay: reason` is allowed what it does; an allowance that allows nothing is refused too.
"""

import ast
import sys
import tokenize
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from tests.tools.replay_sets import OTHER, SET, Kind, Knowledge, Scope, Shape, annotation_kind, parameters

ROOT = Path(__file__).resolve().parents[2]

SIMULATED = ("raft", "log_store", "broker", "kraftpy", "simulation")
NOT_SIMULATED = (
    "kraftpy/runtime",  # the real adapters; ports.py is only types
    "kraftpy/testing",  # starts processes
    "kraftpy/pb",  # generated
    "kraftpy/__main__.py",  # the door to the command line
    "kraftpy/client/blocking_",  # the synchronous clients run the asynchronous ones on a thread
    "kraftpy/client/loop_thread.py",
    "kraftpy/client/waiting.py",
    "broker/maintenance/process.py",  # the two ends of the pipes to a process of its own; `InlineWorker` stands in
    "broker/maintenance/pace.py",
    "broker/maintenance/worker.py",
    "kraftpy/client/system.py",  # the real ports of a client that was given none
)

MARK = "# replay:"

# Modules of which nothing, or nothing but the named, may be used; None: the import itself is refused.
REFUSED_MODULES: dict[str, tuple[str, ...] | None] = {
    "time": ("struct_time", "strptime", "strftime", "gmtime"),
    "random": ("Random",),
    "os": ("path", "sep", "strerror", "fspath", "PathLike"),
    "uuid": ("UUID", "uuid3", "uuid5", "NAMESPACE_DNS", "NAMESPACE_OID", "NAMESPACE_URL"),
    "secrets": None,
    "threading": None,
    "_thread": None,
    "concurrent.futures": None,
    "multiprocessing": None,
    "subprocess": None,
    "socket": None,
    "select": None,
    "selectors": None,
    "signal": None,
    "tempfile": None,
    "shutil": None,
    "mmap": None,
}
REFUSED_ATTRIBUTES = {
    "asyncio": {
        "as_completed": "walks a set",
        "TaskGroup": "cancels its tasks in the order of a set",
        "to_thread": "starts a thread",
        "open_connection": "opens a socket",
        "start_server": "opens a socket",
        "create_subprocess_exec": "starts a process",
        "create_subprocess_shell": "starts a process",
        "all_tasks": "gives a set",
    },
    "datetime": {"now": "reads the clock", "utcnow": "reads the clock", "today": "reads the clock"},
    "date": {"today": "reads the clock"},
}
REFUSED_METHODS = {"run_in_executor": "starts a thread", "getnode": "asks the machine"}
REFUSED_BUILTINS = {
    "id": "an address differs from run to run",
    "hash": "the hash of a string differs from run to run",
    "open": "files are reached through the disk port",
    "input": "nobody is there to answer",
}
# Functions whose result does not depend on the order of what they are given.
ORDER_FREE = {"any", "all", "sum", "len", "set", "frozenset", "sorted", "min", "max", "Counter", "isinstance", "bool"}
WITH_KEY = {"sorted", "min", "max"}
# Functions that hand on the order of what they are given.
ORDERED = {"list", "tuple", "iter", "enumerate", "map", "filter", "zip", "reversed", "deque", "dict", "cycle", "chain"}
ORDERED_METHODS = {"join", "extend", "writelines", "fromkeys", "extendleft", "from_iterable"}


class Checker(ast.NodeVisitor):
    """Walks one module in the order of its text."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.found: list[tuple[ast.AST, str]] = []
        self._scope = Scope(knowledge)
        self._modules: dict[str, str] = {}  # local name -> module
        self._names: dict[str, tuple[str, str]] = {}  # local name -> (module, attribute)

    # --- names and scopes --------------------------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._scope = self._scope, Scope(self._scope.knowledge, self._scope)
        self._scope.own = Knowledge([ast.Module(body=[node], type_ignores=[])]).attributes
        self.generic_visit(node)
        self._scope = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for child in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if child is not None:
                self.visit(child)
        outer, self._scope = self._scope, Scope(self._scope.knowledge, self._scope)
        for parameter in parameters(node.args):
            self._scope.names[parameter.arg] = annotation_kind(parameter.annotation)
        for statement in node.body:
            self.visit(statement)
        self._scope = outer

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        outer, self._scope = self._scope, Scope(self._scope.knowledge, self._scope)
        for parameter in parameters(node.args):
            self._scope.names[parameter.arg] = OTHER
        self.visit(node.body)
        self._scope = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        kind = self._assigned_kind(node.value)
        for target in node.targets:
            if isinstance(target, ast.Tuple | ast.List) and kind == SET:
                self._refuse(node, "takes a set apart in its order")
            self._scope.assign(target, kind)
            self.visit(target)

    def _assigned_kind(self, value: ast.expr) -> Kind:
        awaited = value.value if isinstance(value, ast.Await) else value
        if isinstance(awaited, ast.Call) and self._qualified(awaited.func) == ("asyncio", "wait"):
            return Kind(Shape.SEQUENCE, SET)  # (done, pending)
        return self._scope.kind(value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        self._scope.assign(node.target, annotation_kind(node.annotation))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._scope.assign(node.target, self._scope.kind(node.value))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            package = alias.name.partition(".")[0]
            self._modules[alias.asname or package] = alias.name if alias.asname else package
            if REFUSED_MODULES.get(alias.name, ()) is None:
                self._refuse(node, f"imports {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            self._names[alias.asname or alias.name] = (module, alias.name)
            reason = _refusal(module, alias.name)
            if reason is not None:
                self._refuse(node, reason)

    # --- where the order of a set would show -------------------------------------------------------------------------

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._check_iterated(node.iter, node.iter)
        self._scope.assign_elements(node.target, node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp) -> None:
        self._comprehension(node, order_shows=True)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, order_shows=False)  # it shows where the generator is used: it counts as a set itself

    def visit_Return(self, node: ast.Return) -> None:
        if isinstance(node.value, ast.GeneratorExp):
            self._check_iterated(node.value, node)
        self.generic_visit(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, order_shows=True)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node, order_shows=False)

    def _comprehension(
        self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp, *, order_shows: bool
    ) -> None:
        outer, self._scope = self._scope, Scope(self._scope.knowledge, self._scope)
        for generator in node.generators:
            self.visit(generator.iter)
            if order_shows:
                self._check_iterated(generator.iter, generator.iter)
            self._scope.assign_elements(generator.target, generator.iter)
            for condition in generator.ifs:
                self.visit(condition)
        for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
            self.visit(part)
        self._scope = outer

    def visit_Starred(self, node: ast.Starred) -> None:
        if isinstance(node.ctx, ast.Load):
            self._check_iterated(node.value, node)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        for element in node.elts:  # {*one, *other} makes a set: no order shows
            self.visit(element.value if isinstance(element, ast.Starred) else element)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._check_iterated(node.value, node)
        self.generic_visit(node)

    def _check_iterated(self, iterated: ast.expr, where: ast.AST) -> None:
        if self._scope.kind(iterated) == SET:
            self._refuse(where, f"iterates over a set: {_short(iterated)}")

    # --- calls and names ---------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        self._check_call_on_sets(node)
        if isinstance(node.func, ast.Name) and node.func.id in REFUSED_BUILTINS:
            self._refuse(node, f"{node.func.id}(): {REFUSED_BUILTINS[node.func.id]}")
        if self._qualified(node.func) == ("random", "Random") and not node.args:
            self._refuse(node, "Random() without a seed asks the system")
        if isinstance(node.func, ast.Attribute) and node.func.attr in REFUSED_METHODS:
            self._refuse(node, f"{node.func.attr}: {REFUSED_METHODS[node.func.attr]}")
        for keyword in node.keywords:
            if keyword.arg == "key" and isinstance(keyword.value, ast.Name) and keyword.value.id in ("id", "hash"):
                self._refuse(node, f"orders by {keyword.value.id}()")
        self.visit(node.func)
        for argument in (*node.args, *[keyword.value for keyword in node.keywords]):
            if (
                isinstance(argument, ast.GeneratorExp)
                and _name(node.func) not in ORDER_FREE | ORDERED | ORDERED_METHODS
            ):
                self._check_iterated(argument, argument)
            self.visit(argument)

    def _check_call_on_sets(self, node: ast.Call) -> None:
        name = _name(node.func)
        sets = [argument for argument in node.args if self._scope.kind(argument) == SET]
        if isinstance(node.func, ast.Name) and sets:
            if name in ORDERED:
                self._refuse(node, f"{name}() of a set: {_short(sets[0])}")
            elif name in WITH_KEY and _has_key(node):
                self._refuse(node, f"{name}() of a set by a key: ties keep the set's order: {_short(sets[0])}")
        elif isinstance(node.func, ast.Attribute):
            if name in ORDERED_METHODS and sets:
                self._refuse(node, f".{name}() of a set: {_short(sets[0])}")
            if name == "pop" and not node.args and self._scope.kind(node.func.value) == SET:
                self._refuse(node, f"pop() of a set takes any element: {_short(node.func.value)}")
            if name in ("choice", "choices", "sample", "shuffle") and sets:
                self._refuse(node, f".{name}() of a set: {_short(sets[0])}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        module = self._module_of(node.value)
        if module is not None:
            reason = _refusal(module, node.attr)
            if reason is not None:
                self._refuse(node, reason)
        self.generic_visit(node)

    def _module_of(self, node: ast.expr) -> str | None:
        """The module, or the class of a module, that an expression names."""
        match node:
            case ast.Name(id=name) if name in self._modules:
                return self._modules[name]
            case ast.Name(id=name) if name in self._names:
                module, attribute = self._names[name]
                return attribute if module == "datetime" else f"{module}.{attribute}"
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in self._modules:
                return attribute if self._modules[name] == "datetime" else f"{self._modules[name]}.{attribute}"
        return None

    def _qualified(self, function: ast.expr) -> tuple[str, str] | None:
        if isinstance(function, ast.Name):
            return self._names.get(function.id)
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            module = self._modules.get(function.value.id)
            return (module, function.attr) if module else None
        return None

    def _refuse(self, node: ast.AST, message: str) -> None:
        self.found.append((node, message))


def _refusal(module: str, attribute: str) -> str | None:
    """Why this attribute of a module may not be used; None: it may."""
    allowed = REFUSED_MODULES.get(module, ())
    if allowed is None or (module in REFUSED_MODULES and attribute not in allowed):
        return f"{module}.{attribute}: go through a port"
    reason = REFUSED_ATTRIBUTES.get(module.rpartition(".")[2], {}).get(attribute)
    return None if reason is None else f"{module}.{attribute} {reason}"


def _name(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _has_key(call: ast.Call) -> bool:
    return any(keyword.arg == "key" for keyword in call.keywords)


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else text[:57] + "..."


def allowances(source: str) -> dict[int, str]:
    """Lines with a `# replay:` comment, and the reasons given."""
    found = {}
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT and MARK in token.string:
            found[token.start[0]] = token.string.partition(MARK)[2].strip()
    return found


def check_source(name: str, source: str, knowledge: Knowledge | None = None) -> Iterator[str]:
    """The complaints about one module, as `name:line: message`."""
    tree = ast.parse(source)
    checker = Checker(knowledge or Knowledge([tree]))
    checker.visit(tree)
    allowed = allowances(source)
    used: dict[int, None] = {}
    complaints = []
    for node, message in checker.found:
        first = getattr(node, "lineno", 1)
        lines = [line for line in range(first, getattr(node, "end_lineno", first) + 1) if allowed.get(line)]
        if lines:
            used.update(dict.fromkeys(lines))
        else:
            complaints.append((first, message))
    for line, reason in allowed.items():
        if not reason:
            complaints.append((line, "an allowance needs its reason: # replay: reason"))
        elif line not in used:
            complaints.append((line, "this allowance allows nothing"))
    for line, message in sorted(dict.fromkeys(complaints)):
        yield f"{name}:{line}: {message}"


def simulated_files(root: Path = ROOT) -> list[Path]:
    """Every module that runs in the simulation."""
    files = sorted(path for folder in SIMULATED for path in (root / folder).rglob("*.py"))
    return [path for path in files if not path.relative_to(root).as_posix().startswith(NOT_SIMULATED)]


def check_tree(files: list[Path], root: Path = ROOT) -> list[str]:
    """The complaints about all files; annotations are known across them."""
    sources = {path: path.read_text(encoding="utf-8") for path in files}
    knowledge = Knowledge([ast.parse(source) for source in sources.values()])
    names = {path: path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in files}
    return [line for path, source in sources.items() for line in check_source(names[path], source, knowledge)]


def main(arguments: list[str]) -> int:
    files = [Path(argument).resolve() for argument in arguments] or simulated_files()
    complaints = check_tree(files)
    for line in complaints:
        print(line)
    if not complaints:
        print(f"replay check: {len(files)} files, nothing that would break replay")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
