"""The settings of transactions, under Kafka's names (`transaction.*`, `transactional.*`)."""

from dataclasses import dataclass

from kraftpy.runtime.limits import INT32_MAX, check_limits

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class TransactionConfig:
    """Checked once, when it is made; a wrong value is a `ValueError` that names the setting."""

    timeout_max_ms: int = 15 * _MINUTE_MS
    """The longest time that a producer may ask for each of its transactions (transaction.max.timeout.ms). One whose
    producer crashed holds committed readers back for as long as that, unless the producer comes back."""

    id_expiration_ms: int = 7 * _DAY_MS
    """How long a transactional id is remembered after its last transaction (transactional.id.expiration.ms). Longer
    fences producers that were away for longer, and keeps more ids in memory."""

    id_expiration_check_interval_ms: int = 60 * _MINUTE_MS
    """Between looks for such ids (transaction.remove.expired.transaction.cleanup.interval.ms). A look costs by the
    number of ids."""

    def __post_init__(self) -> None:
        check_limits(
            ("transaction.max.timeout.ms", self.timeout_max_ms, 1, INT32_MAX),
            ("transactional.id.expiration.ms", self.id_expiration_ms, 1, INT32_MAX),
            (
                "transaction.remove.expired.transaction.cleanup.interval.ms",
                self.id_expiration_check_interval_ms,
                1,
                INT32_MAX,
            ),
        )
