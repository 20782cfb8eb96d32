"""Documents do not name what is not there: files, functions, commands, targets."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from hatch_build import SERVER_FOLDERS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TOP_FOLDERS = {"kraftpy", *SERVER_FOLDERS, "bench", "docs", "proto", "tests"}

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md"} <= {path.name for path in DOCUMENTS}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    dead = []
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name) if name else document
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(document: Path) -> None:
    dead = [name for name in _code(document) if _is_path(name) and not (ROOT / name).exists()]
    assert not dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_functions_that_a_table_names_beside_a_file_are_in_it(document: Path) -> None:
    dead = []
    for line in document.read_text().splitlines():
        names = CODE.findall(line) if line.startswith("|") else []
        code = "".join((ROOT / name).read_text() for name in names if name.endswith(".py") and _is_path(name))
        functions = [name for name in names if re.fullmatch(r"\w+\(\)", name)]
        dead += [name for name in functions if code and not re.search(rf"\bdef {name[:-2]}\(", code)]
    assert not dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_and_targets_that_are_named_can_be_run(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    dead = []
    for command in [*_code(document), *_fenced_lines(document)]:
        words = shlex.split(command.partition("#")[0].replace("'", ""))
        if words[:1] == ["make"]:
            dead += [word for word in words[1:] if "=" not in word and word not in targets]
        if len(words) > 2 and words[0].endswith("python") and words[1] == "-m" and not _can_run(words[2]):
            dead.append(command)
    assert not dead


def _code(document: Path) -> list[str]:
    return CODE.findall(FENCE.sub("", document.read_text()))


def _fenced_lines(document: Path) -> list[str]:
    blocks = FENCE.findall(document.read_text())
    return [line for block in blocks for line in block.splitlines() if re.match(r"(make|\S*python) ", line)]


def _is_path(name: str) -> bool:
    """Whether this code is the name of a file or folder of the project."""
    if not re.fullmatch(r"\.?[\w.-]+(/[\w.-]+)*/?", name):
        return False
    if "/" in name:
        return name.split("/")[0] in TOP_FOLDERS
    return name.endswith((".md", ".toml")) or name in ("Makefile", "Dockerfile")


def _can_run(module: str) -> bool:
    return module in ("pip", "venv") or find_spec(module) is not None


def _anchors(file: Path) -> set[str]:
    """What the usual renderers make of the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
