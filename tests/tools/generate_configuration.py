"""Writes the tables of docs/configuration.md from the code, or checks that they are what it would write.

    python -m tests.tools.generate_configuration [--check]

A generated part stands between `<!-- name -->` and `<!-- end -->`. The sentences come from where a setting is defined:
the text at its field, or its row in a table; so a setting is explained once. The sums of time-outs are added up from
the defaults of the same classes.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path

from broker.configure import default_of, documentation_of
from broker.controller.config import ControllerConfig
from broker.metadata.topic_config import TOPIC_SETTINGS
from broker.rpc.probe import AGAIN_MS
from broker.settings import ALIASES, ASKS_FOR_NO_SECURITY, REPLACED, SECURITY, SETTINGS, TO_COME, TUNES_A_JVM
from kraftpy.client.config import AdminConfig, ClientConfig, ConsumerConfig, ProducerConfig
from kraftpy.client.settings import Settings
from kraftpy.runtime.grpc_transport import RECONNECT_FIRST_MS
from kraftpy.runtime.limits import INT32_MAX, INT64_MAX
from raft.config import RaftConfig

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
UNITS = {"ms": "ms", "bytes": "bytes", "hours": "hours", "minutes": "minutes", "seconds": "seconds", "percentage": "%"}


def main(arguments: Sequence[str]) -> int:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = filled(text)
    if "--check" not in arguments:
        DOCUMENT.write_text(written, encoding="utf-8")
        return 0
    if written != text:
        print("docs/configuration.md is not what the code says: python -m tests.tools.generate_configuration")
        return 1
    print("docs/configuration.md: as the code says")
    return 0


def filled(text: str) -> str:
    """`text` with every generated part made anew. Raises `ValueError` where one is missing."""
    for name, part in PARTS.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, part=part: f"{found[1]}{part()}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"docs/configuration.md has {count} places for '{name}'")
    return text


# --- nodes -----------------------------------------------------------------------------------------------------------


def node_settings() -> str:
    rows = [
        (
            _code(setting.name),
            _shown(setting.name, default_of(setting)),
            documentation_of(setting).replace(f" ({setting.name})", ""),
        )
        for setting in SETTINGS
    ]
    return _table(("setting", "default", "what it is"), rows)


def other_names() -> str:
    parts: dict[str, list[str]] = {}
    for prefix, part in TO_COME:
        parts.setdefault(part, []).append(f"{prefix}…" if prefix.endswith(".") else prefix)
    rows = [
        *((_code(alias), f"the same as {_code(name)}") for alias, name in ALIASES.items()),
        *((_code(name), f"no effect: {sentence}") for name, sentence in REPLACED.items()),
        *((", ".join(map(_code, names)), f"no effect yet; to come: {part}") for part, names in parts.items()),
        (", ".join(_code(f"{prefix}…" if prefix.endswith(".") else prefix) for prefix in SECURITY), "refused"),
        *((_code(f"{name}={value}"), "no effect: it is what holds") for name, value in ASKS_FOR_NO_SECURITY.items()),
        (", ".join(map(_code, sorted(TUNES_A_JVM))), "no effect: they tune a JVM, its threads or old formats"),
    ]
    return _table(("setting", "what becomes of it"), rows)


# --- topics ----------------------------------------------------------------------------------------------------------


def topic_settings() -> str:
    rows = [
        (
            _code(setting.name),
            _shown(setting.name, setting.default),
            _code(setting.broker_name) if setting.broker_name else "",
            setting.documentation,
        )
        for setting in TOPIC_SETTINGS
    ]
    return _table(("setting", "default", "a broker's default for it", "what it is"), rows)


# --- clients ---------------------------------------------------------------------------------------------------------


def client_settings(kind: type[Settings], without: Iterable[str] = ()) -> str:
    left_out = set(without)
    rows = []
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in left_out:
            continue
        names = [
            field.name,
            *(name for name in (field.name.replace("_", "."), *field.metadata["names"]) if "." in name),
        ]
        default = "" if field.default in (MISSING, None, ()) else str(field.default)
        rows.append((", ".join(map(_code, names)), _shown(field.name, default), field.metadata["documentation"]))
    return _table(("setting", "default", "what it is"), rows)


# --- sums of time-outs -----------------------------------------------------------------------------------------------


def failover_of_a_dead_node() -> str:
    raft, client = RaftConfig(), ProducerConfig(bootstrap="127.0.0.1:9093")
    return _sum(
        [
            ("a voter's next call is refused; its turn comes within the election jitter", raft.election_jitter_ms),
            ("where two tried at once, one stands back: up to 4 × the election jitter", 4 * raft.election_jitter_ms),
            ("the new controller probes every broker; the dead one refuses; the moves are committed", 0),
            ("where its connection breaks at first, it is asked until it refuses", 2 * RECONNECT_FIRST_MS + AGAIN_MS),
            ("a producer's next look at the metadata (`retry_backoff_ms`)", client.retry_backoff_ms),
        ]
    )


def failover_of_a_silent_node() -> str:
    raft, controller, client = RaftConfig(), ControllerConfig(), ProducerConfig(bootstrap="127.0.0.1:9093")
    return _sum(
        [
            ("a voter hears nothing from the leader (`controller.quorum.fetch.timeout.ms`)", raft.fetch_timeout_ms),
            ("its turn comes within the election jitter", raft.election_jitter_ms),
            ("where two tried at once, one stands back: up to 4 × the election jitter", 4 * raft.election_jitter_ms),
            (
                "the rest of the lost leader's session (`broker.session.timeout.ms`), two heartbeats at least",
                max(
                    controller.broker_session_timeout_ms - raft.fetch_timeout_ms,
                    2 * controller.broker_heartbeat_interval_ms,
                ),
            ),
            ("a producer's next look at the metadata (`retry_backoff_ms`)", client.retry_backoff_ms),
        ]
    )


def _sum(steps: list[tuple[str, int]]) -> str:
    rows = [(step, f"{most_ms:,}" if most_ms else "–") for step, most_ms in steps]
    rows.append(("**sum of the waits**", f"**{sum(most_ms for _, most_ms in steps):,}**"))
    return _table(("step", "at most, ms"), rows)


# --- writing ---------------------------------------------------------------------------------------------------------


def _shown(name: str, default: str) -> str:
    """A default as people read it, with its unit."""
    if default == "":
        return ""
    if default in (str(INT64_MAX), str(INT32_MAX), str(sys.float_info.max)):
        return "no limit"
    words = re.split(r"[._]", name)
    unit = next((UNITS[word] for word in reversed(words) if word in UNITS), "")
    whole = default.removesuffix(".0")  # of a rate
    number = f"{int(whole):,}" if re.fullmatch(r"\d+", whole) else _code(default)
    if not unit or not number[0].isdigit():
        return number
    return f"{number} {unit.removesuffix('s') if number == '1' and unit != 'ms' else unit}"


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


_SHARED = [field.name for field in fields(ClientConfig)]

PARTS: dict[str, Callable[[], str]] = {
    "node settings": node_settings,
    "other names": other_names,
    "topic settings": topic_settings,
    "client settings": lambda: client_settings(AdminConfig),
    "producer settings": lambda: client_settings(ProducerConfig, _SHARED),
    "consumer settings": lambda: client_settings(ConsumerConfig, _SHARED),
    "failover of a dead node": failover_of_a_dead_node,
    "failover of a silent node": failover_of_a_silent_node,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
