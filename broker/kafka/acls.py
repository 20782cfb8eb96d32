"""DescribeAcls, CreateAcls and DeleteAcls (keys 29, 30, 31), versions 1–3: what a cluster without security answers.

There is no authorizer, so there are no permissions to be told, given or taken: SECURITY_DISABLED, as Kafka says it.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages import create_acls, delete_acls, describe_acls
from broker.kafka.messages.create_acls import AclCreationResult, CreateAclsRequest, CreateAclsResponse
from broker.kafka.messages.delete_acls import DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse
from broker.kafka.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse
from kraftpy.error_codes import code_of
from kraftpy.errors import SecurityDisabledError

REFUSED = code_of(SecurityDisabledError)
WHY = "no authorizer is configured: everybody may do everything"


def acl_apis() -> tuple[Api, ...]:
    return (
        message_api(
            ApiKey.DESCRIBE_ACLS,
            (describe_acls.VERSION_MIN, describe_acls.VERSION_MAX),
            describe_acls.FLEXIBLE_FROM,
            DescribeAclsRequest,
            DescribeAclsResponse,
            _describe,
        ),
        message_api(
            ApiKey.CREATE_ACLS,
            (create_acls.VERSION_MIN, create_acls.VERSION_MAX),
            create_acls.FLEXIBLE_FROM,
            CreateAclsRequest,
            CreateAclsResponse,
            _create,
        ),
        message_api(
            ApiKey.DELETE_ACLS,
            (delete_acls.VERSION_MIN, delete_acls.VERSION_MAX),
            delete_acls.FLEXIBLE_FROM,
            DeleteAclsRequest,
            DeleteAclsResponse,
            _delete,
        ),
    )


async def _describe(request: DescribeAclsRequest, header: Request) -> DescribeAclsResponse:
    return DescribeAclsResponse(error=REFUSED, error_message=WHY, resources=())


async def _create(request: CreateAclsRequest, header: Request) -> CreateAclsResponse:
    return CreateAclsResponse(
        results=tuple(AclCreationResult(error=REFUSED, error_message=WHY) for _ in request.creations)
    )


async def _delete(request: DeleteAclsRequest, header: Request) -> DeleteAclsResponse:
    return DeleteAclsResponse(
        filter_results=tuple(
            DeleteAclsFilterResult(error=REFUSED, error_message=WHY, matching_acls=()) for _ in request.filters
        )
    )
