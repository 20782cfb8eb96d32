"""The gRPC services: messages in, commands out; and the ways to other nodes.

Begin with `methods` (how typed handlers become what a transport serves) and `ports` (what the services ask of their
node). Then, a service at a time:

| who calls | service | here |
|---|---|---|
| the SDK | Client | `client_service`: `metadata_answers`, `produce_stream`, `fetching`, `listing_offsets` |
| administrators | Admin | `admin_service`: passed on to `controller_admin`; `describing_configs` |
| brokers | Control | `control`; its other end is `active_controller`, and `probe` looks whether a broker is there |
| replicas of the quorum | Quorum | `quorum`, `quorum_messages` |

Those for groups, transactions and administrators are made when they are first called: `services`.

An admin's change takes this way: `admin_service` → `active_controller` → Control.Forward → `control` →
`controller_admin` → the controller → committed → applied on the node that was asked → answered.

Kafka's error codes appear only here (and at the other doors); everything inside raises `kraftpy.errors`. Requests are
not trusted: numbers are clamped or refused in the answer, `limits` bounds what one call may name, and bytes that are no
request are the caller's fault (`BadRequest`). No decision about partitions or metadata is made here.
"""
