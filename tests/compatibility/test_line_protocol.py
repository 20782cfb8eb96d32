"""Whatever a program does, every capability gets an answer."""

import sys

from tests.compatibility.case import Verdict
from tests.compatibility.line_protocol import Answer, ask

PRINTS = "print('case', name, '{}', 'a note', sep='\\t', flush=True)"


def answers(body: str, *capabilities: str, silence_s: float = 20.0) -> list[Answer]:
    program = f"import sys, time, os\nfor name in sys.argv[3:]:\n    {body}\n"
    return list(ask([sys.executable, "-c", program], "nowhere:1", "run", capabilities, silence_s))


def test_what_a_program_says_is_the_answer() -> None:
    assert answers(PRINTS.format("passed"), "headers", "idempotence") == [
        Answer("headers", Verdict.PASSED, "a note"),
        Answer("idempotence", Verdict.PASSED, "a note"),
    ]
    assert [answer.verdict for answer in answers(PRINTS.format("absent"), "headers")] == [Verdict.ABSENT]


def test_a_log_between_the_answers_is_passed_over() -> None:
    said = f"print('case of wine'); {PRINTS.format('failed')}"
    assert answers(said, "headers") == [Answer("headers", Verdict.FAILED, "a note")]


def test_a_program_that_dies_fails_the_case_at_hand_and_goes_on_with_the_rest() -> None:
    died, passed = answers(
        f"print('alas') or os._exit(3) if name == 'first' else {PRINTS.format('passed')}", "first", "next"
    )
    assert died.verdict is Verdict.FAILED
    assert "exit code 3" in died.note
    assert passed == Answer("next", Verdict.PASSED, "a note")


def test_a_program_that_hangs_is_killed() -> None:
    hung, passed = answers(
        f"time.sleep(600) if name == 'first' else {PRINTS.format('passed')}", "first", "next", silence_s=2.0
    )
    assert hung.verdict is Verdict.FAILED
    assert hung.note.startswith("no answer within 2 s")
    assert passed == Answer("next", Verdict.PASSED, "a note")
