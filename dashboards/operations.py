"""Operations: whether everything runs, and what each part of it uses."""

from dashboards.model import HALF, QUARTER, THIRD, Dashboard, PromQL, Row, columns, lines, ranking, stat

#: Not the exporters, which say of themselves what they use, too.
_OURS = '{job=~"services|workers|keep|observer"}'

_WELL = Row(
    "Is everything well?",
    [
        stat(
            "Programs that answer",
            "Part of all programs that answered when they were last asked.",
            "percentunit",
            PromQL("avg(up)"),
            (1, 0.9),
        ),
        stat(
            "Alerts",
            "Alerts that somebody should look at now; docs/operate.md says what to do.",
            "locale",
            PromQL('count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)'),
            (1, 3),
        ),
        stat(
            "Events set aside",
            "Events that could not be applied: `marea parked list` shows them.",
            "locale",
            PromQL("sum(marea_parked_events) or vector(0)"),
            (1, 10),
        ),
        stat(
            "Rows that are wrong",
            "Rows of views and tables that were not as the databases say when `marea verify` last looked.",
            "locale",
            PromQL("sum(marea_verify_differences)"),
            (1, 10),
        ),
    ],
)
_WORK = Row(
    "What is being done?",
    [
        columns(
            "Requests by outcome",
            "Requests a second by status: 2xx were done, 4xx refused, 5xx failed.",
            "reqps",
            PromQL(
                'sum by (outcome) (label_replace(rate(http_server_request_duration_seconds_count[$__rate_interval]), "outcome",'
                ' "${1}xx", "http_response_status_code", "(.).*"))',
                "{{outcome}}",
            ),
        ),
        ranking(
            "Who is furthest behind",
            "Age in seconds of the oldest event that a consumer has not applied.",
            "s",
            PromQL("topk(10, max by (consumer) (marea_consumer_lag_seconds))", "{{consumer}}", is_instant=True),
            width=HALF,
        ),
    ],
)
_CONSUMERS = Row(
    "Consumers and relay",
    [
        lines(
            "Events by outcome",
            "Applied, skipped because they were there already, or parked.",
            "cps",
            PromQL("sum by (outcome) (rate(marea_consumer_events_total[$__rate_interval]))", "{{outcome}}"),
            width=QUARTER,
        ),
        lines(
            "Tries that failed",
            "By reason; those that are `not_yet` are waiting for what they need.",
            "cps",
            PromQL("sum by (reason) (rate(marea_consumer_failures_total[$__rate_interval]))", "{{reason}}"),
            width=QUARTER,
        ),
        lines(
            "Partitions that nobody reads",
            "By feed. For some seconds after a worker has started this is normal.",
            "locale",
            PromQL("marea_consumer_unassigned_partitions", "{{feed}}"),
            width=QUARTER,
        ),
        lines(
            "Tasks of the connector",
            "By Kafka Connect's state: there should be one that is RUNNING.",
            "locale",
            PromQL("sum by (state) (marea_connector_tasks)", "{{state}}"),
            width=QUARTER,
        ),
    ],
)
_KAFKA = Row(
    "Kafka",
    [
        lines(
            "Bytes in and out",
            "What the broker takes and gives.",
            "Bps",
            PromQL("rate(kafka_broker_bytesin_total[$__rate_interval])", "in"),
            PromQL("rate(kafka_broker_bytesout_total[$__rate_interval])", "out"),
            width=THIRD,
        ),
        lines(
            "Slow requests",
            "One in a hundred requests to the broker took longer. Consumers wait there for what is to come.",
            "ms",
            PromQL('kafka_request_milliseconds{quantile="99thPercentile"}', "{{request}}"),
            width=THIRD,
        ),
        lines(
            "Under-replicated partitions",
            "Partitions that have fewer copies than they should.",
            "locale",
            PromQL("kafka_under_replicated_partitions", "partitions"),
            width=THIRD,
        ),
    ],
)
_STORES = Row(
    "Stores",
    [
        lines(
            "PostgreSQL: connections",
            "By state; those that are `idle in transaction` for long hold locks.",
            "locale",
            PromQL('sum by (state) (pg_stat_activity_count{state=~"active|idle|idle in transaction"})', "{{state}}"),
            width=QUARTER,
        ),
        lines(
            "PostgreSQL: commits",
            "Transactions a second, by database.",
            "cps",
            PromQL('sum by (datname) (rate(pg_stat_database_xact_commit{datname!~"template.*"}[$__rate_interval]))', "{{datname}}"),
            width=QUARTER,
        ),
        lines(
            "Redis: memory",
            "What the views take.",
            "bytes",
            PromQL("redis_memory_used_bytes", "used"),
            width=QUARTER,
        ),
        lines(
            "ClickHouse: parts",
            "Active parts of each table. Many of them mean that merges do not keep up.",
            "locale",
            PromQL("marea_clickhouse_parts", "{{table}}"),
            width=QUARTER,
        ),
    ],
)
_PROGRAMS = Row(
    "Programs",
    [
        lines(
            "CPU",
            "Cores that each of our own programs uses.",
            "none",
            PromQL(f"sum by (instance) (rate(process_cpu_seconds_total{_OURS}[$__rate_interval]))", "{{instance}}"),
            width=THIRD,
        ),
        lines(
            "Memory",
            "Memory that each of our own programs has.",
            "bytes",
            PromQL(f"sum by (instance) (process_resident_memory_bytes{_OURS})", "{{instance}}"),
            width=THIRD,
        ),
        lines(
            "Front door: connections",
            "Clients that are connected to nginx.",
            "locale",
            PromQL("nginx_connections_active", "active"),
            width=THIRD,
        ),
    ],
)

DASHBOARD = Dashboard(
    "marea-operations",
    "Operations",
    "Whether everything runs, what is being done, and what each part uses.",
    [_WELL, _WORK, _CONSUMERS, _KAFKA, _STORES, _PROGRAMS],
    refresh="10s",
)
