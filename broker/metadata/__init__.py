"""Metadata records and the immutable image that they build.

Begin with `records`, what the quorum's log says; then `state` and `image`, what that builds, and `delta`, what changed;
`codec` turns records into bytes and is the one module here that knows protobuf. Settings: `setting` (types),
`topic_config` and `broker_config` (the tables), `effective` (which value holds, and where it comes from). `features`
says which levels of the formats this release knows. All but `codec` is pure.
"""
