"""DescribeUserScramCredentials and AlterUserScramCredentials (keys 50, 51), version 0: there are no users (KIP-554)."""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages import alter_user_scram_credentials, describe_user_scram_credentials
from broker.kafka.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
)
from broker.kafka.messages.describe_user_scram_credentials import (
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)
from kraftpy.error_codes import code_of
from kraftpy.errors import ResourceNotFoundError, UnsupportedSaslMechanismError


def scram_credential_apis() -> tuple[Api, ...]:
    return (
        message_api(
            ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS,
            (describe_user_scram_credentials.VERSION_MIN, describe_user_scram_credentials.VERSION_MAX),
            describe_user_scram_credentials.FLEXIBLE_FROM,
            DescribeUserScramCredentialsRequest,
            DescribeUserScramCredentialsResponse,
            _describe,
        ),
        message_api(
            ApiKey.ALTER_USER_SCRAM_CREDENTIALS,
            (alter_user_scram_credentials.VERSION_MIN, alter_user_scram_credentials.VERSION_MAX),
            alter_user_scram_credentials.FLEXIBLE_FROM,
            AlterUserScramCredentialsRequest,
            AlterUserScramCredentialsResponse,
            _alter,
        ),
    )


async def _describe(
    request: DescribeUserScramCredentialsRequest, header: Request
) -> DescribeUserScramCredentialsResponse:
    return DescribeUserScramCredentialsResponse(
        results=tuple(
            DescribeUserScramCredentialsResult(
                user=user.name,
                error=code_of(ResourceNotFoundError),
                error_message=f"there is no user {user.name}",
                credential_infos=(),
            )
            for user in request.users or ()
        )
    )


async def _alter(request: AlterUserScramCredentialsRequest, header: Request) -> AlterUserScramCredentialsResponse:
    users = dict.fromkeys([each.name for each in request.deletions] + [each.name for each in request.upsertions])
    return AlterUserScramCredentialsResponse(
        results=tuple(
            AlterUserScramCredentialsResult(
                user=user,
                error=code_of(UnsupportedSaslMechanismError),
                error_message="no listener authenticates anybody: there is no use for credentials",
            )
            for user in users
        )
    )
