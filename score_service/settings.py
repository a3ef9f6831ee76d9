"""What an operator can change about score_service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from shared.settings import Socket, TraceEndpoint, TraceQueue

WebhookSecret = Annotated[str, Meta(pattern=r"\A(whsec_[A-Za-z0-9+/]{32,88}={0,2}|(?!whsec_).{24,})\Z")]


class Settings(Struct, frozen=True):
    """Settings from the environment; see `shared.settings.load`."""

    database_url: Annotated[str, Meta(min_length=1, description="Postgres; several hosts are tried in order")]
    redis_url: Annotated[
        str,
        Meta(
            min_length=1,
            description="Redis or Valkey that keeps the ranking index;"
            " unix://user:password@/path?db=0 is a Unix socket,"
            " redis+cluster://host:port,host:port is a cluster,"
            " redis+sentinel://host:port,host:port/name asks Sentinels",
        ),
    ]
    score_host: Annotated[str, Meta(description="address to listen on; never a public one")] = "127.0.0.1"
    score_port: Annotated[int, Meta(ge=1, le=65535, description="port to listen on")] = 8081
    score_socket: Socket = ""
    log_level: Annotated[
        str, Meta(pattern=r"\A(DEBUG|INFO|WARNING|ERROR)\Z", description="least level logged")
    ] = "INFO"
    score_pool_size: Annotated[int, Meta(ge=3, le=100, description="most connections to Postgres")] = 8
    score_batch_results: Annotated[
        int, Meta(ge=1, le=10_000, description="most results committed together; bounds a transaction's time")
    ] = 2000
    score_queue_sessions: Annotated[
        int, Meta(ge=1, le=100_000, description="most sessions waiting for a commit; past it callers get 503")
    ] = 4000
    score_lanes: Annotated[
        int, Meta(ge=1, le=16, description="commits in flight at once from one process")
    ] = 2
    score_crowd: Annotated[
        int, Meta(ge=1, description="sessions waiting when a commit starts beside one in flight")
    ] = 64
    score_retry_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="how long a commit is tried again before its callers get 503")
    ] = 5000
    score_statement_timeout_ms: Annotated[
        int, Meta(ge=100, le=600_000, description="Postgres ends a statement after this long")
    ] = 30_000
    score_answer_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=600_000,
            description="a connection to Postgres is given up when a commit's statement has no answer for so"
            " long; the commit is tried again",
        ),
    ] = 4_000
    redis_timeout_ms: Annotated[
        int, Meta(ge=10, le=10_000, description="a round trip to Redis is given up after this long")
    ] = 500
    rank_patience_ms: Annotated[
        int, Meta(ge=0, le=5000, description="how long an answer waits for a ranking that starts to load")
    ] = 250
    index_idle_seconds: Annotated[
        int, Meta(ge=60, le=31_536_000, description="an index not used for this long expires")
    ] = 86_400
    build_patience_ms: Annotated[
        int, Meta(ge=0, le=5000, description="how long defining a board waits for it to be built")
    ] = 1000
    season_grace_seconds: Annotated[
        int,
        Meta(ge=0, le=2_592_000, description="how long after a season's end late results still count in it"),
    ] = 600
    history_months: Annotated[
        int,
        Meta(
            ge=0, le=1200, description="whole months of sessions kept besides this one; 0 keeps all for ever"
        ),
    ] = 0
    rank_history_days: Annotated[
        int, Meta(ge=0, le=400, description="daily ranks kept for charts, for so many days; 0 takes none")
    ] = 90
    leave_seconds: Annotated[
        float, Meta(ge=0, le=60, description="how long a stopping process goes on while callers learn of it")
    ] = 3
    webhook_secret: Annotated[
        tuple[WebhookSecret, ...],
        Meta(
            description="signs what webhooks are sent, by each of these (so it can be changed): `whsec_` and"
            " base64, or any text; without one there are no webhooks"
        ),
    ] = ()
    webhook_private: Annotated[
        bool,
        Meta(
            description="webhooks may lead to private addresses and be plain http: for closed networks, tests"
        ),
    ] = False
    webhook_hours: Annotated[
        int, Meta(ge=1, le=720, description="how long a webhook that fails is tried again, ever more slowly")
    ] = 72
    drain_seconds: Annotated[
        int, Meta(ge=1, le=300, description="how long a stopping process may finish what it accepted")
    ] = 20
    otel_exporter_otlp_endpoint: TraceEndpoint = ""
    otel_bsp_max_queue_size: TraceQueue = 2048
