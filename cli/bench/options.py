"""What several of the bench commands take."""

from typing import Annotated

import typer

from cli.bench.names import Acks, Compression, DoorName

RATE_MIN = 0.001  # records a second

DoorOption = Annotated[
    DoorName | None,
    typer.Option(
        "--door",
        help="grpc: kraftpy's SDK. kafka: librdkafka, at the Kafka door of any cluster (pip install 'kraftpy[bench]'). "
        "Default: grpc where it is kraftpy, else kafka.",
    ),
]
TopicOption = Annotated[
    str | None,
    typer.Option(
        "--topic",
        "-t",
        help="Made where it is missing. Default: a topic of this run's own, deleted at the end.",
        metavar="TOPIC",
    ),
]
Partitions = Annotated[
    int | None, typer.Option("--partitions", "-p", help="Of a topic that is made. Default: 6.", min=1)
]
ReplicationFactor = Annotated[
    int | None,
    typer.Option(
        "--replication-factor", "-r", help="Of a topic that is made. Default: 3, or as many as there are nodes.", min=1
    ),
]
TopicConfig = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        "-c",
        help="A setting of a topic that is made; repeatable. min.insync.replicas is one less than the replicas unless "
        "given.",
        metavar="NAME=VALUE",
    ),
]
Records = Annotated[int | None, typer.Option("--records", "-n", help="End after so many records.", min=1)]
Seconds = Annotated[
    float | None, typer.Option("--seconds", help="End after so many seconds. Default: 10, without --records.", min=0.1)
]
Rate = Annotated[float, typer.Option("--rate", help="Records a second; 0: as fast as they are taken.", min=0)]
OpenRate = Annotated[float, typer.Option("--rate", help="Records a second.", min=RATE_MIN)]
RecordSize = Annotated[int, typer.Option("--record-size", help="Bytes of a record's value.", min=1, max=60 << 20)]
AcksOption = Annotated[Acks, typer.Option("--acks", help="Who must hold a record before it counts.")]
CompressionOption = Annotated[Compression, typer.Option("--compression", help="How batches are compressed.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Bytes of a batch. Default: the client's own.", min=1)
]
LingerMs = Annotated[
    int | None,
    typer.Option("--linger-ms", help="How long a batch waits for more records. Default: the client's own.", min=0),
]
NoLingerMs = Annotated[int, typer.Option("--linger-ms", help="How long a batch waits for more records.", min=0)]
Seed = Annotated[int, typer.Option("--seed", help="Which values are written; the same for the same seed.", min=0)]
Compressible = Annotated[
    float,
    typer.Option("--compressible", help="The share of each value that is words; the rest is random.", min=0, max=1),
]
ClientSettings = Annotated[
    list[str] | None,
    typer.Option("-X", help="A setting of the client under Kafka's name; repeatable.", metavar="NAME=VALUE"),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="A line a second on stderr, in place of the one on a terminal.")
]
