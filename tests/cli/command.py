"""Runs the command line in this process: what it prints, and its exit code."""

import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest import mock

from cli.app import run


class Result(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def said(self) -> str:
        """What it said on stderr as one line, without the box that older typers draw around errors."""
        return " ".join(self.err.replace("│", " ").split())

    def json(self) -> Any:
        return json.loads(self.out)

    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def kraftpy(*arguments: str, bootstrap: str = "", stdin: bytes = b"") -> Result:
    """`kraftpy ARGUMENTS`, with `bootstrap` as KRAFTPY_BOOTSTRAP_SERVER."""
    out, err = io.BytesIO(), io.StringIO()
    environment = {"KRAFTPY_BOOTSTRAP_SERVER": bootstrap} if bootstrap else {}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with (
        mock.patch.object(sys, "argv", ["kraftpy", *arguments]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.object(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        mock.patch.object(sys, "stderr", err),
        mock.patch.dict(os.environ, environment),
    ):
        try:
            run()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        sys.stdout.flush()
        return Result(code, out.getvalue(), err.getvalue())


def lines(*values: str | Sequence[str]) -> bytes:
    return b"".join(f"{value}\n".encode() for value in values)
