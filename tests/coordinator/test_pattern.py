"""Patterns of topics: the same matches as Python's `re` where both know the syntax, and no pattern takes long."""

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.pattern import NamePattern
from kraftpy.errors import InvalidRegularExpressionError

_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\d", "\\w", "[a-c0]", "\\.", "(?i)A", "^a", "b$"])
_PATTERNS = st.recursive(
    _ATOMS.map(lambda atom: f"(?:{atom[4:]})" if atom.startswith("(?i)") else atom),
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "+?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(text=_PATTERNS, names=st.lists(st.text("ab0.-Aé", max_size=6), max_size=8))
def test_it_matches_as_python_does(text: str, names: list[str]) -> None:
    expected = tuple(name for name in names if re.fullmatch(text, name, re.ASCII))
    assert NamePattern(text).matching(names) == expected


@pytest.mark.parametrize(
    "text, name",
    [
        ("", ""),
        ("^foo-.*", "foo-bar"),
        ("(?i)FOO|x", "foo"),
        ("(?i:A)b", "ab"),
        ("\\Qa.b\\E.*", "a.bc"),
        ("[[:alpha:]_]+", "ab_c"),
        ("[[:^digit:]]", "a"),
        ("(?P<name>a)(?<other>b)", "ab"),
        ("[]a]+", "]a"),
        ("[a-]", "-"),
        ("x{", "x{"),
        ("x{,2}", "x{,2}"),
        ("\\x61\\x{62}", "ab"),
        ("\\Aa\\z", "a"),
        ("[\\w.-]+", "a.b-c"),
    ],
)
def test_what_is_re2s_own(text: str, name: str) -> None:
    assert NamePattern(text).matches(name)


def test_characters_beyond_ascii_are_matched_by_what_names_none() -> None:
    assert NamePattern(".*").matches("é") and NamePattern("[^a]\\W").matches("éö")
    assert not NamePattern("é").matches("é") and not NamePattern("[[:ascii:]]").matches("é")


@pytest.mark.parametrize(
    "text",
    [
        *("(", ")", "[", "*a", "a**", "a|+", "(?=a)", "(?<=a)", "(?<!a)", "(?P=a)", "\\b", "\\1", "\\pL", "\\"),
        *("a{5,2}", "a{1001}", "(a{1000}){1000}", "a" * 5_000, "(" * 60 + ")" * 60),
        *("\\x{zz}", "\\xg0", "[b-a]", "[[:foo:]]", "(?P<n", "(?", "\\x{110000}"),
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidRegularExpressionError):
        NamePattern(text)


def test_hostile_patterns_end_soon() -> None:
    """What takes time beyond all measure where a matcher goes back, and what has too many states to be worked out."""
    assert not NamePattern("(a*)*b").matches("a" * 249)
    assert not NamePattern("(a|aa)+$").matches("a" * 248 + "b")
    random = Random(1)
    names = ["".join(random.choice("01") for _ in range(249)) for _ in range(1_000)]
    with pytest.raises(InvalidRegularExpressionError, match="too much work"):
        NamePattern("(.|..)*1.{500}").matching(names)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["((((){1000}){1000}){1000}){1000}", f"({'()' * 2_000}a){{1000}}"])
def test_repetitions_of_nothing_end_soon(text: str) -> None:
    with pytest.raises(InvalidRegularExpressionError, match="too large"):
        NamePattern(text)


def test_repetitions_of_nothing_match_nothing_else() -> None:
    assert NamePattern("(()(){100}){50}a").matching(["a", ""]) == ("a",)


def test_states_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.coordinator.pattern.STATES_MAX", 3)
    pattern = NamePattern(".*a.b.*")
    names = ["xxaxbxx", "aab", "ab", "axbaxb", "xab", "a.b"]
    assert pattern.matching(names) == tuple(name for name in names if re.fullmatch(".*a.b.*", name))
