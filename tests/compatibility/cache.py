"""Where clients are installed, and how: each kind of package by its ordinary tool, into one folder.

The folder is `KRAFTPY_COMPATIBILITY_CACHE`, or `kraftpy-compatibility` in the user's cache folder; it may be removed at
any time. What is there already is not asked for again. Versions are pinned beside the sources that use them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
INSTALL_TIMEOUT_S = 1_200.0  # librdkafka is compiled for Rust, also on a busy machine


class NotAvailableError(Exception):
    """A client cannot be had on this machine; the message is the reason, one line."""


def cache_directory() -> Path:
    """The folder for everything that is installed, made if need be."""
    named = os.environ.get("KRAFTPY_COMPATIBILITY_CACHE")
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kraftpy-compatibility"
    directory = Path(named).absolute() if named else default
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def tool(name: str) -> str:
    """The path of a program that must be on this machine. Raises `NotAvailableError`."""
    found = shutil.which(name)
    if found is None:
        raise NotAvailableError(f"no {name} on this machine")
    return found


class Cache:
    """Installs what is asked for, once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def python(self) -> Path:
        """An interpreter of its own, with the packages of `programs/python/requirements.txt`."""
        requirements = PROGRAMS / "python" / "requirements.txt"
        home = self.directory / "python"
        interpreter = home / "bin" / "python"
        if self._is_new(home, requirements.read_text() + sys.version):
            venv.create(home, with_pip=True, clear=True)
            install(
                [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
            )
            self._installed(home, requirements.read_text() + sys.version)
        return interpreter

    def jars(self, name: str) -> Path:
        """The folder with the jars that `programs/java/NAME.xml` (a Maven project) depends on."""
        maven, project = tool("mvn"), PROGRAMS / "java" / f"{name}.xml"
        home = self.directory / "java" / name
        if self._is_new(home, project.read_text()):
            home.mkdir(parents=True)
            install(
                [
                    maven,
                    "--quiet",
                    "--batch-mode",
                    "--file",
                    project,
                    f"-Dmaven.repo.local={self.directory / 'maven'}",
                    "dependency:copy-dependencies",
                    f"-DoutputDirectory={home}",
                ]
            )
            self._installed(home, project.read_text())
        return home

    def classes(self, jars: str, sources: Sequence[Path]) -> str:
        """A class path: Java sources compiled against the jars of that name, and those jars."""
        compiler, library = tool("javac"), self.jars(jars)
        home = self.directory / "classes" / f"{jars}-{sources[0].parent.name}"
        written = "".join(source.read_text() for source in sources)
        class_path = f"{home}{os.pathsep}{library}{os.sep}*"
        if self._is_new(home, written):
            home.mkdir(parents=True)
            install([compiler, "-nowarn", "-cp", f"{library}{os.sep}*", "-d", home, *sources])
            self._installed(home, written)
        return class_path

    def node(self, name: str) -> Path:
        """`programs/node/NAME` with its packages; the program is copied beside them, where Node looks for packages."""
        npm, project = tool("npm"), PROGRAMS / "node" / name
        package = (project / "package.json").read_text()
        home = self.directory / "node" / name
        if self._is_new(home, package):
            home.mkdir(parents=True)
            shutil.copy(project / "package.json", home)
            install([npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", home])
            self._installed(home, package)
        for source in [*project.glob("*.mjs"), *(PROGRAMS / "node").glob("*.mjs")]:
            shutil.copy(source, home)
        return home

    def go(self, name: str) -> Path:
        """`programs/go/NAME`, built."""
        project = PROGRAMS / "go" / name
        built = self.directory / "go" / name
        built.parent.mkdir(parents=True, exist_ok=True)
        environment = {"GOMODCACHE": str(self.directory / "go" / "modules"), "GOFLAGS": "-mod=readonly -modcacherw"}
        install([tool("go"), "build", "-o", built, "."], directory=project, environment=environment)
        return built

    def rust(self, name: str) -> Path:
        """`programs/rust/NAME`, built."""
        target = self.directory / "rust"
        manifest = PROGRAMS / "rust" / name / "Cargo.toml"
        tool("cc"), tool("make")  # librdkafka is built from source
        install([tool("cargo"), "build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target])
        return target / "debug" / name

    def debian(self, packages: Sequence[str]) -> Path:
        """Debian's packages, unpacked into a folder: nothing on the machine changes."""
        downloader, unpacker = tool("apt-get"), tool("dpkg")
        home = self.directory / "debian" / packages[0]
        if self._is_new(home, " ".join(packages)):
            home.mkdir(parents=True)
            install([downloader, "--quiet", "--quiet", "download", *packages], directory=home)
            for archive in sorted(home.glob("*.deb")):
                install([unpacker, "--extract", archive, home])
            self._installed(home, " ".join(packages))
        return home

    @staticmethod
    def _is_new(home: Path, wanted: str) -> bool:
        """Whether `home` lacks what is wanted; what it holds then is of another version, or half of it, and goes."""
        mark = home / ".installed"
        if mark.exists() and mark.read_text() == _digest(wanted):
            return False
        shutil.rmtree(home, ignore_errors=True)
        return True

    @staticmethod
    def _installed(home: Path, wanted: str) -> None:
        (home / ".installed").write_text(_digest(wanted))


def install(
    command: Sequence[str | Path], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run an installing command to its end. Raises `NotAvailableError` with the last line of what it said."""
    try:
        ended = subprocess.run(
            list(map(str, command)),
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise NotAvailableError(f"{_name(command)}: not done within {INSTALL_TIMEOUT_S:.0f} s") from None
    if ended.returncode != 0:
        said = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
        telling = [line for line in said if "error" in line.lower()] or said or ["it said nothing"]
        raise NotAvailableError(f"{_name(command)}: {telling[0][:200]}")


def _name(command: Sequence[str | Path]) -> str:
    return " ".join([Path(command[0]).name, *map(str, command[1:2])])


def _digest(wanted: str) -> str:
    return hashlib.sha256(wanted.encode()).hexdigest()
