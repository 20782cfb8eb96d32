"""The container's recipe, read: there need not be a Docker to see that it fits the project."""

import re
import tomllib
from pathlib import Path

from broker.configure import configure
from hatch_build import SERVER_FOLDERS
from kraftpy.runtime.ports import Address

ROOT = Path(__file__).resolve().parents[2]
RECIPE = (ROOT / "Dockerfile").read_text()


def test_what_the_build_needs_is_sent_to_it() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"  # whatever is not named stays here
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    top_licences = {name for name in project["license-files"] if "/" not in name}
    assert sent == {"kraftpy", *SERVER_FOLDERS, "pyproject.toml", "hatch_build.py", project["readme"], *top_licences}


def test_its_environment_is_a_configuration_without_complaints() -> None:
    environment = dict(re.findall(r"(KAFKA_\w+)=(\S+)", RECIPE.partition("FROM")[2]))
    config, notices = configure({}, environment, "")
    assert not notices
    assert config.log_dirs == ("/data",)
    assert config.grpc.bind == Address("0.0.0.0", 9093)
    assert [listener.bind for listener in config.framed] == [Address("0.0.0.0", 9092)]
    assert config.insecure_listeners
    # one node alone is a cluster that its host reaches
    assert config.grpc.advertised_as(config.grpc.bind) == Address("localhost", 9093)


def test_it_runs_without_privileges_and_stops_in_order() -> None:
    assert re.search(r"^USER kraftpy$", RECIPE, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", RECIPE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*kraftpy cluster health", RECIPE, re.MULTILINE)
    # exec form: the signal reaches the node, not a shell
    assert 'ENTRYPOINT ["kraftpy", "node"]' in RECIPE
