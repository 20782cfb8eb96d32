"""DescribeClientQuotas and AlterClientQuotas (keys 48, 49), versions 0–1: no quota is set, and none can be (KIP-546).

Altering is refused with UNSUPPORTED_VERSION, which Kafka answers where a cluster cannot do yet what is asked: silence
would let an operator believe that clients are held back.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages import alter_client_quotas, describe_client_quotas
from broker.kafka.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlteredEntity,
    AlteredEntry,
)
from broker.kafka.messages.describe_client_quotas import DescribeClientQuotasRequest, DescribeClientQuotasResponse
from kraftpy.error_codes import code_of
from kraftpy.errors import UnsupportedVersionError

REFUSED = code_of(UnsupportedVersionError)
WHY = "this cluster does not hold clients back: quotas cannot be set"


def client_quota_apis() -> tuple[Api, ...]:
    return (
        message_api(
            ApiKey.DESCRIBE_CLIENT_QUOTAS,
            (describe_client_quotas.VERSION_MIN, describe_client_quotas.VERSION_MAX),
            describe_client_quotas.FLEXIBLE_FROM,
            DescribeClientQuotasRequest,
            DescribeClientQuotasResponse,
            _describe,
        ),
        message_api(
            ApiKey.ALTER_CLIENT_QUOTAS,
            (alter_client_quotas.VERSION_MIN, alter_client_quotas.VERSION_MAX),
            alter_client_quotas.FLEXIBLE_FROM,
            AlterClientQuotasRequest,
            AlterClientQuotasResponse,
            _alter,
        ),
    )


async def _describe(request: DescribeClientQuotasRequest, header: Request) -> DescribeClientQuotasResponse:
    return DescribeClientQuotasResponse(entries=())


async def _alter(request: AlterClientQuotasRequest, header: Request) -> AlterClientQuotasResponse:
    return AlterClientQuotasResponse(
        entries=tuple(
            AlteredEntry(
                error=REFUSED,
                error_message=WHY,
                entity=tuple(
                    AlteredEntity(entity_type=each.entity_type, entity_name=each.entity_name) for each in entry.entity
                ),
            )
            for entry in request.entries
        )
    )
