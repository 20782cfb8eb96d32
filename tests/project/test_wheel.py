"""The wheel: one package, whole, and it works away from the checkout.

The environment that runs the tests lends its dependencies; `make wheel-check` does the same in an empty one, by way of
a package index.
"""

import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from hatch_build import SERVER_FOLDERS

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _succeed([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content and nothing else, outside the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_one_package_and_its_metadata(wheel: Path) -> None:
    assert wheel.name == f"kraftpy-{VERSION}-py3-none-any.whl"
    assert {name.split("/")[0] for name in _names(wheel)} == {"kraftpy", f"kraftpy-{VERSION}.dist-info"}


def test_everything_that_runs_is_in_it(wheel: Path) -> None:
    """Code, types and data, the server's folders under `_server`."""
    expected = {f"kraftpy/{name}" for name in _files("kraftpy")}
    for folder in SERVER_FOLDERS:
        expected |= {f"kraftpy/_server/{folder}/{name}" for name in _files(folder)}
    present = {name for name in _names(wheel) if name.startswith("kraftpy/")}
    assert present == expected
    assert "kraftpy/py.typed" in present


def test_licences_travel_with_it(wheel: Path) -> None:
    licences = {name for name in _names(wheel) if ".dist-info/licenses/" in name}
    assert f"kraftpy-{VERSION}.dist-info/licenses/LICENSE" in licences


def test_every_top_folder_with_server_code_is_listed() -> None:
    """A new floor of the house must not be forgotten in the wheel."""
    floors = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"kraftpy", "tests"}
    assert floors == set(SERVER_FOLDERS)


def test_the_command_works_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert "node" in _run(installed, tmp_path, "-m", "kraftpy", "--help")
    # every file of the server can be imported where it is now
    program = f"""
import importlib, pathlib, sys
from kraftpy import Consumer, Producer
import kraftpy.aio, kraftpy.testing
server = pathlib.Path(kraftpy.__file__).parent / "_server"
sys.path.insert(0, str(server))
for path in sorted(server.rglob("*.py")):
    name = ".".join(path.relative_to(server).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__).is_relative_to(server), module.__file__
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
assert not any(file.startswith({str(ROOT / "kraftpy")!r}) for file in files)
print("all imported")
"""
    assert "all imported" in _run(installed, tmp_path, "-c", program)


def _names(wheel: Path) -> Iterator[str]:
    with ZipFile(wheel) as archive:
        yield from archive.namelist()


def _files(folder: str) -> set[str]:
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / folder).as_posix() for path in paths}


def _run(installed: Path, folder: Path, *arguments: str) -> str:
    """Python without its site folder, so that no editable install can stand in for what is missing."""
    path = f"{installed}:{sysconfig.get_path('purelib')}"
    return _succeed([sys.executable, "-S", *arguments], folder, {"PYTHONPATH": path, "PATH": ""})


def _succeed(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
