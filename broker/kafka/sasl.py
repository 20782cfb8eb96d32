"""SaslHandshake (key 17), versions 0–1, and SaslAuthenticate (key 36), versions 0–2: refused by ILLEGAL_SASL_STATE, as
Kafka does on a PLAINTEXT listener.

So a client that is configured for SASL says that it was refused, instead of waiting.
"""

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages import sasl_authenticate, sasl_handshake
from broker.kafka.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from broker.kafka.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from kraftpy.error_codes import code_of
from kraftpy.errors import IllegalSaslStateError

REFUSED = code_of(IllegalSaslStateError)
WHY = "this listener is PLAINTEXT: set security.protocol=PLAINTEXT"


def sasl_apis() -> tuple[Api, ...]:
    return (
        message_api(
            ApiKey.SASL_HANDSHAKE,
            (sasl_handshake.VERSION_MIN, sasl_handshake.VERSION_MAX),
            sasl_handshake.FLEXIBLE_FROM,
            SaslHandshakeRequest,
            SaslHandshakeResponse,
            _shake_hands,
        ),
        message_api(
            ApiKey.SASL_AUTHENTICATE,
            (sasl_authenticate.VERSION_MIN, sasl_authenticate.VERSION_MAX),
            sasl_authenticate.FLEXIBLE_FROM,
            SaslAuthenticateRequest,
            SaslAuthenticateResponse,
            _authenticate,
        ),
    )


async def _shake_hands(request: SaslHandshakeRequest, header: Request) -> SaslHandshakeResponse:
    return SaslHandshakeResponse(error=REFUSED)


async def _authenticate(request: SaslAuthenticateRequest, header: Request) -> SaslAuthenticateResponse:
    return SaslAuthenticateResponse(error=REFUSED, error_message=WHY, auth_bytes=b"")
