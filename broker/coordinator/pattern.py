"""Patterns of names in RE2's syntax: of topics (KIP-848), of transactional ids (KIP-1152). Pure.

Whatever a client sends must not hold up the coordinator, so there is no backtracking: a pattern becomes an automaton,
and its states are worked out when they are first met (Thompson 1968; Cox, "Regular Expression Matching Can Be Simple
And Fast"). A name is matched as a whole, as Kafka does.

What is understood: literals, `.`, classes (also `[:alpha:]`, `\\d \\w \\s \\pL \\p{Lu} \\p{Greek}` and their
opposites), `| * + ? {n,m}` and their lazy forms, groups (capturing or not, named, with the flags i, m, s, U),
`^ $ \\A \\z \\b \\B`, `\\Q…\\E`, `\\xHH`, `\\141`. What is refused, by INVALID_REGULAR_EXPRESSION: look-around and back
references, which RE2 does not know either. Names of topics are ASCII. In other names one character beyond is like
another: `.` and what a class leaves out match it, and one that stands in a pattern matches nothing; Unicode's classes
have of their characters only those of ASCII.

Bounds: `PATTERN_CHARACTERS_MAX`, `NODES_MAX` and `PARTS_MAX` after repetitions are written out, `DEPTH_MAX` of nested
groups, and `WORK_MAX` for looking through all names: at most some tenths of a second for the most hostile pattern.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from broker.coordinator.character_classes import (
    ALL,
    BEYOND_ASCII,
    LOWER,
    PERL,
    POSIX,
    UNICODE,
    UPPER,
    WORD,
    mask_of,
    range_of,
)
from kraftpy.errors import InvalidRegularExpressionError

PATTERN_CHARACTERS_MAX = 4_096
NODES_MAX = 2_000
PARTS_MAX = 20_000
"""Groups and what is in them, each as often as it is repeated. `((){1000}){1000}` has a million, and not one node."""
DEPTH_MAX = 50
REPETITIONS_MAX = 1_000
"""RE2's own."""
WORK_MAX = 300_000
"""Nodes visited for new states of the automaton."""
STATES_MAX = 5_000
"""Kept at once; then all are forgotten."""

_MATCH, _CHARACTER, _SPLIT, _START, _END, _BOUNDARY, _NO_BOUNDARY = range(7)
_NOTHING, _OTHER, _IN_WORD = range(3)
"""What is on one side of a place between characters."""
_OCTAL: Final = frozenset("01234567")
_ANCHORS: Final = {"A": _START, "z": _END, "b": _BOUNDARY, "B": _NO_BOUNDARY}
_SPECIAL: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_CLASSES: Final = frozenset("dwsDWSpP")

_State = tuple[tuple[int, ...], int]  # nodes, what was before
_Tree = tuple[Any, ...]  # ("set", mask), ("anchor", kind), ("all", trees), ("any", trees), …


class NamePattern:
    """One pattern, ready to match."""

    def __init__(self, text: str) -> None:
        """Raises `InvalidRegularExpressionError`, with what is wrong and where."""
        self._nodes: list[tuple[int, int, int, int]] = []  # kind, mask, next, other next
        self._parts = 0  # compiled so far, <= PARTS_MAX
        tree = _Parser(text).parse()
        match = self._node(_MATCH)
        self._first = self._compile(tree, match)
        self._has_boundaries = any(kind in (_BOUNDARY, _NO_BOUNDARY) for kind, *_ in self._nodes)
        self._work_left = WORK_MAX
        self._forget()

    def matching(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those that match. Raises `InvalidRegularExpressionError` where that takes too much work."""
        self._work_left = WORK_MAX
        return tuple(name for name in names if self.matches(name))

    def matches(self, name: str) -> bool:
        state = self._initial
        for character in name:
            following = self._steps[state].get(character)
            state = self._step(state, character) if following is None else following
        return self._accepts[state]

    # --- the automaton -----------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._numbers: dict[_State, int] = {}
        self._states: list[_State] = []
        self._steps: list[dict[str, int]] = []
        self._accepts: list[bool] = []
        self._initial = self._number(self._closure([self._first], (_START,)), _NOTHING)

    def _number(self, nodes: tuple[int, ...], before: int) -> int:
        state = (nodes, before)
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
            self._steps.append({})
            at_end = self._closure(nodes, _anchors(before, _NOTHING))
            self._accepts.append(any(self._nodes[each][0] == _MATCH for each in at_end))
        return number

    def _step(self, state: int, character: str) -> int:
        bit = mask_of(character) or BEYOND_ASCII
        nodes, before = self._states[state]
        side = _OTHER  # told apart only where a boundary asks for it: it makes states
        if self._has_boundaries:
            side = _IN_WORD if bit & WORD else _OTHER
            nodes = self._closure(nodes, _anchors(before, side))
        following = [self._nodes[each][2] for each in nodes if self._nodes[each][1] & bit]
        self._spend(len(nodes))
        if len(self._states) >= STATES_MAX:
            self._forget()
            return self._number(self._closure(following), side)
        number = self._number(self._closure(following), side)
        self._steps[state][character] = number
        return number

    def _closure(self, nodes: Iterable[int], passes: tuple[int, ...] = ()) -> tuple[int, ...]:
        """What is reached from these without a character. `passes`: anchors that hold here.

        An end and a boundary that do not hold stay: whether they do is known with the next character, or without one.
        """
        found: dict[int, None] = {}
        waiting = list(nodes)
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found[index] = None
            kind, _, following, other = self._nodes[index]
            if kind == _SPLIT:
                waiting += (following, other)
            elif kind in passes:
                waiting.append(following)
        self._spend(len(found))
        return tuple(sorted(each for each in found if self._nodes[each][0] not in (_SPLIT, _START)))

    def _spend(self, nodes: int) -> None:
        self._work_left -= nodes
        if self._work_left < 0:
            raise InvalidRegularExpressionError("the pattern takes too much work to match against all topics")

    # --- building it, from its end to its start ----------------------------------------------------------------------

    def _node(self, kind: int, mask: int = 0, following: int = -1, other: int = -1) -> int:
        if len(self._nodes) >= NODES_MAX:
            raise InvalidRegularExpressionError(f"the pattern is too large: more than {NODES_MAX} nodes")
        self._nodes.append((kind, mask, following, other))
        return len(self._nodes) - 1

    def _compile(self, tree: _Tree, following: int) -> int:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise InvalidRegularExpressionError(f"the pattern is too large: more than {PARTS_MAX} parts")
        match tree:
            case ("set", mask):
                return self._node(_CHARACTER, mask, following)
            case ("anchor", kind):
                return self._node(kind, 0, following)
            case ("all", trees):
                for each in reversed(trees):
                    following = self._compile(each, following)
                return following
            case ("any", trees):
                first = self._compile(trees[-1], following)
                for each in reversed(trees[:-1]):
                    first = self._node(_SPLIT, 0, self._compile(each, following), first)
                return first
            case ("repeat", each, least, most):
                return self._compile_repeat(each, least, most, following)
        raise AssertionError(tree)

    def _compile_repeat(self, tree: _Tree, least: int, most: int | None, following: int) -> int:
        if most is None:
            loop = self._node(_SPLIT, 0, -1, following)
            self._nodes[loop] = (_SPLIT, 0, self._compile(tree, loop), following)
            following = loop
        else:
            end = following
            for _ in range(most - least):
                following = self._node(_SPLIT, 0, self._compile(tree, following), end)
        for _ in range(least):
            following = self._compile(tree, following)
        return following


def _anchors(before: int, after: int) -> tuple[int, ...]:
    """Those that hold between the two."""
    boundary = _BOUNDARY if (before == _IN_WORD) != (after == _IN_WORD) else _NO_BOUNDARY
    return (boundary, *(_START,) * (before == _NOTHING), *(_END,) * (after == _NOTHING))


class _Parser:
    """From text to a tree."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._ignores_case = False

    def parse(self) -> _Tree:
        if len(self._text) > PATTERN_CHARACTERS_MAX:
            raise InvalidRegularExpressionError(f"the pattern is longer than {PATTERN_CHARACTERS_MAX} characters")
        tree = self._alternatives()
        if self._position < len(self._text):
            raise self._wrong("there is a ) without (")
        return tree

    def _wrong(self, what: str) -> InvalidRegularExpressionError:
        return InvalidRegularExpressionError(f"the pattern {self._text[:100]!r}, at {self._position}: {what}")

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._position)

    def _take(self, text: str) -> bool:
        if self._peek(text):
            self._position += len(text)
            return True
        return False

    def _next(self) -> str:
        if self._position >= len(self._text):
            raise self._wrong("it ends too early")
        self._position += 1
        return self._text[self._position - 1]

    @property
    def _following(self) -> str:
        """The next character, not taken; none at the end."""
        return self._text[self._position : self._position + 1]

    def _until(self, end: str) -> str:
        found = self._text.find(end, self._position)
        if found < 0:
            raise self._wrong(f"{end} is missing")
        taken = self._text[self._position : found]
        self._position = found + len(end)
        return taken

    # --- the parts, from large to small ------------------------------------------------------------------------------

    def _alternatives(self) -> _Tree:
        trees = [self._sequence()]
        while self._take("|"):
            trees.append(self._sequence())
        return trees[0] if len(trees) == 1 else ("any", trees)

    def _sequence(self) -> _Tree:
        trees: list[_Tree] = []
        while self._position < len(self._text) and not self._peek("|") and not self._peek(")"):
            if self._take("\\Q"):
                found = self._text.find("\\E", self._position)
                end = len(self._text) if found < 0 else found
                trees += (self._literal(each) for each in self._text[self._position : end])
                self._position = min(len(self._text), end + 2)
            else:
                trees.append(self._repeated(self._atom()))
        return ("all", trees)

    def _repeated(self, tree: _Tree) -> _Tree:
        bounds = self._bounds()
        if bounds is None:
            return tree
        self._take("?")  # the lazy form matches the same whole names
        if self._bounds() is not None:
            raise self._wrong("a repetition is repeated")
        return ("repeat", tree, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if not self._peek("{"):
            return None
        end = self._text.find("}", self._position)
        least, comma, most = self._text[self._position + 1 : max(end, 0)].partition(",")
        if end < 0 or not _is_number(least) or (most and not _is_number(most)):
            return None  # a brace that is no repetition is one that stands for itself
        self._position = end + 1
        low, high = int(least), int(most) if most else None if comma else int(least)
        if low > REPETITIONS_MAX or (high is not None and not low <= high <= REPETITIONS_MAX):
            raise self._wrong(f"repetitions are 0 to {REPETITIONS_MAX}, the smaller number first")
        return low, high

    def _atom(self) -> _Tree:
        character = self._next()
        match character:
            case "(":
                return self._group()
            case "[":
                return ("set", self._class())
            case ".":
                return ("set", ALL & ~mask_of("\n"))
            case "^":
                return ("anchor", _START)
            case "$":
                return ("anchor", _END)
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise self._wrong(f"there is nothing before {character}")
        return self._literal(character)

    def _literal(self, character: str) -> _Tree:
        return ("set", self._cased(mask_of(character)))

    def _cased(self, mask: int) -> int:
        """Letters of both cases, where the case is ignored."""
        if not self._ignores_case:
            return mask
        distance = ord("a") - ord("A")
        return mask | (mask & UPPER) << distance | (mask & LOWER) >> distance

    def _group(self) -> _Tree:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong(f"groups are nested deeper than {DEPTH_MAX}")
        outer = self._ignores_case
        if self._take("?"):
            if self._take("P<") or (self._peek("<") and not self._peek("<=") and not self._peek("<!")):
                self._take("<")
                self._until(">")
            elif self._flags():
                self._depth -= 1
                return ("all", [])  # they hold for the rest of the group around
        tree = self._alternatives()
        if not self._take(")"):
            raise self._wrong(") is missing")
        self._ignores_case = outer
        self._depth -= 1
        return tree

    def _flags(self) -> bool:
        """True: flags without a group of their own."""
        is_on = True
        while True:
            match self._next():
                case ":":
                    return False
                case ")":
                    return True
                case "-":
                    is_on = False
                case "i":
                    self._ignores_case = is_on
                case "m" | "s" | "U":
                    continue  # names have no lines, and are matched whole
                case _:
                    raise self._wrong("RE2 has no such group")

    def _escape(self) -> _Tree:
        character = self._next()
        if character in _ANCHORS:
            return ("anchor", _ANCHORS[character])
        if character in _CLASSES:
            return ("set", self._escaped_class(character))
        return ("set", self._cased(mask_of(self._escaped(character))))

    def _escaped(self, character: str) -> str:
        """The one character that is meant."""
        if character in _SPECIAL:
            return _SPECIAL[character]
        if character == "x":
            digits = self._until("}") if self._take("{") else self._next() + self._next()
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                raise self._wrong("\\x wants a number in hexadecimal") from None
        if character == "0" or (character in _OCTAL and self._following in _OCTAL):  # a single digit refers back
            digits = character
            while len(digits) < 3 and self._following in _OCTAL:
                digits += self._next()
            return chr(int(digits, 8))
        if character.isalnum() and character.isascii():
            raise self._wrong(f"\\{character} is not supported")
        return character

    def _class(self) -> int:
        is_negated = self._take("^")
        mask = 0
        is_first = True
        while is_first or not self._take("]"):
            is_first = False
            if self._take("[:"):
                mask |= self._named(POSIX, self._until(":]"))
                continue
            character = self._next()
            if character == "\\" and self._following in _CLASSES:
                mask |= self._escaped_class(self._next())
                continue
            first = last = self._escaped(self._next()) if character == "\\" else character
            if self._peek("-") and not self._peek("-]"):
                self._position += 1
                character = self._next()
                last = self._escaped(self._next()) if character == "\\" else character
                if last < first:
                    raise self._wrong("a range begins after its end")
            mask |= range_of(first, last)
        mask = self._cased(mask)
        return ALL & ~mask if is_negated else mask

    def _escaped_class(self, letter: str) -> int:
        if letter in PERL:
            return PERL[letter]
        name = self._until("}") if self._take("{") else self._next()
        mask = self._named(UNICODE, name)
        return ALL & ~mask if letter == "P" else mask

    def _named(self, classes: Mapping[str, int], name: str) -> int:
        """The case is ignored before the class is turned round: `(?i)\\P{Lu}` matches no letter."""
        known = classes.get(name.removeprefix("^"))
        if known is None:
            raise self._wrong(f"there is no class {name[:30]}")
        known = self._cased(known)
        return ALL & ~known if name.startswith("^") else known


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
