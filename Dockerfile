# One node in a container:
#
#   docker build -t kraftpy .
#   docker run -p 9092:9092 -p 9093:9093 -v kraftpy:/data kraftpy
#
# Settings are KAFKA_... variables, as usual: -e KAFKA_NODE_ID=2 -e KAFKA_CONTROLLER_QUORUM_VOTERS=1@one:9093,2@two:9093,...
# and -e KAFKA_ADVERTISED_LISTENERS=... where clients do not reach the node as localhost.
#
# Inside a container a node must listen beyond loopback to be reached at all, and kraftpy has no authentication yet. So
# this image allows insecure listeners, explicitly, below: publish its ports only where everybody who can reach them may
# read, write and administer everything.

FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/kraftpy && /opt/kraftpy/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin kraftpy \
 && mkdir /data && chown kraftpy /data
COPY --from=build /opt/kraftpy /opt/kraftpy
ENV PATH=/opt/kraftpy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KAFKA_LOG_DIRS=/data \
    KAFKA_LISTENERS=GRPC://0.0.0.0:9093,PLAINTEXT://0.0.0.0:9092 \
    KAFKA_ADVERTISED_LISTENERS=GRPC://localhost:9093,PLAINTEXT://localhost:9092 \
    KAFKA_INSECURE_LISTENERS_ENABLE=true \
    KRAFTPY_BOOTSTRAP_SERVER=127.0.0.1:9093
USER kraftpy
WORKDIR /data
VOLUME /data
# 9092: Kafka's protocol. 9093: calls (quorum, SDK).
EXPOSE 9092 9093
# Healthy while this node answers. Exit code 4 tells of trouble elsewhere in the cluster: whoever restarts unhealthy
# containers must not take the good ones down with it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD kraftpy cluster health --timeout 4 || test $? -eq 4
# A controlled shutdown: leaderships move first.
STOPSIGNAL SIGTERM
ENTRYPOINT ["kraftpy", "node"]
