"""The gRPC services, one file a service: messages in, commands out."""
