"""UpdateFeatures (key 57), versions 0–2: finalized levels go up, all or none (KIP-584, 778).

Levels never go down here, so every downgrade is refused, as the controller says.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.update_features import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError, InvalidUpdateVersionError, KraftpyError
from kraftpy.pb import admin_pb2

WHOLE_FROM = 2  # results of single features before


class UpdateFeatures:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.UPDATE_FEATURES,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            UpdateFeaturesRequest,
            UpdateFeaturesResponse,
            self._respond,
        )

    async def _respond(self, request: UpdateFeaturesRequest, header: Request) -> UpdateFeaturesResponse:
        error, message = NO_ERROR, None
        try:
            await ask_controller(
                self._link, "UpdateFeatures", _meaning(request), admin_pb2.UpdateFeaturesResponse, request.timeout_ms
            )
        except KraftpyError as refusal:
            error, message = code_of(refusal), refusal.message
        if header.version >= WHOLE_FROM:
            return UpdateFeaturesResponse(error=error, error_message=message)
        results = tuple(
            UpdatableFeatureResult(feature=each.feature, error=error, error_message=message)
            for each in request.feature_updates
        )
        return UpdateFeaturesResponse(error_message=None, results=results)


def _meaning(request: UpdateFeaturesRequest) -> admin_pb2.UpdateFeaturesRequest:
    """Raises `InvalidRequestError`, `InvalidUpdateVersionError`."""
    levels = {each.feature: each.max_version_level for each in request.feature_updates}
    if not levels or len(levels) < len(request.feature_updates):
        raise InvalidRequestError("an update names each feature once, and at least one")
    if any(level < 1 for level in levels.values()):
        raise InvalidUpdateVersionError("a finalized feature cannot be taken back: levels are 1 or more")
    return admin_pb2.UpdateFeaturesRequest(
        levels=levels, validate_only=request.validate_only, timeout_ms=request.timeout_ms
    )
