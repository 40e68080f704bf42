"""The path: how fresh what people see is, and where a change spends its time on the way to them."""

from dashboards.model import THIRD, Dashboard, PromQL, Row, Variable, lines, stat

_CONSUMERS = Variable(
    "consumer", "Consumer", PromQL("label_values(marea_consumer_position, consumer)"), is_multiple=True
)
_CHOSEN = 'consumer=~"$consumer"'


def _quantile(share: float, metric: str, by: str, chosen: str = "") -> PromQL:
    rate = f"sum by (le, {by}) (rate({metric}_bucket{chosen}[$__rate_interval]))"
    return PromQL(f"histogram_quantile({share}, {rate})", f"{{{{{by}}}}}")


_FRESH = Row(
    "How fresh is what people see?",
    [
        stat(
            "Oldest change not shown yet",
            "How long ago the oldest change happened that a view does not show yet. 0 when everything is shown.",
            "s",
            PromQL('max(marea_consumer_lag_seconds{kind="view"})'),
            (1, 5),
            decimals=1,
        ),
        stat(
            "In time",
            "Part of all views, tables and reactions that are as fresh now as they have to be.",
            "percentunit",
            PromQL("avg(marea_consumer_lag_seconds <= bool on (kind) group_left () marea_freshness_objective_seconds)"),
            (1, 0.9),
        ),
        stat(
            "Changes on their way",
            "Events in Kafka that are still to be applied, counted once for each who needs them.",
            "locale",
            PromQL("sum(marea_consumer_lag_events)"),
            (1_000, 10_000),
        ),
        stat(
            "Changes set aside",
            "Events that could not be applied and wait for somebody to look at them. This should be 0.",
            "locale",
            PromQL("sum(marea_parked_events) or vector(0)"),
            (1, 10),
        ),
    ],
)
_LEGS = Row(
    "From a change to the screen",
    [
        lines(
            "A usual change",
            "Half of the changes took less: `relay` is from the database to Kafka, `apply` from there to the views.",
            "s",
            _quantile(0.5, "marea_event_age_seconds", "leg", '{feed="views"}'),
        ),
        lines(
            "A slow change",
            "One in a hundred changes took longer.",
            "s",
            _quantile(0.99, "marea_event_age_seconds", "leg", '{feed="views"}'),
        ),
    ],
)
_RELAY = Row(
    "The relay: from databases to Kafka",
    [
        lines(
            "Silence",
            "Seconds since the connector last wrote to Kafka that it lives. It does so every few seconds, whatever happens.",
            "s",
            PromQL("time() - marea_relay_heartbeat_timestamp_seconds", "{{connector}}"),
            width=THIRD,
        ),
        lines(
            "WAL kept for the relay",
            "What PostgreSQL may not delete yet because the relay has not confirmed it. Growing without end, it fills the disk.",
            "bytes",
            PromQL("marea_slot_retained_bytes", "{{slot}}"),
            width=THIRD,
        ),
        lines(
            "Events published",
            "Records that arrive in each topic.",
            "cps",
            PromQL("sum by (topic) (rate(kafka_topic_messagesin_total[$__rate_interval]))", "{{topic}}"),
            width=THIRD,
        ),
    ],
)
_APPLIED = Row(
    "The consumers: from Kafka to views, tables and reactions",
    [
        lines(
            "Behind, in seconds",
            "Age of the oldest event that each has not applied.",
            "s",
            PromQL(f"max by (consumer) (marea_consumer_lag_seconds{{{_CHOSEN}}})", "{{consumer}}"),
        ),
        lines(
            "Behind, in events",
            "Events that each has not applied.",
            "locale",
            PromQL(f"sum by (consumer) (marea_consumer_lag_events{{{_CHOSEN}}})", "{{consumer}}"),
        ),
        lines(
            "Events applied",
            "How many events each applies.",
            "cps",
            PromQL(
                f'sum by (consumer) (rate(marea_consumer_events_total{{outcome="applied",{_CHOSEN}}}[$__rate_interval]))',
                "{{consumer}}",
            ),
        ),
        lines(
            "Rewinds",
            "How often consumers had to read elsewhere: after a gap, fenced by somebody else, or because a store came back behind.",
            "cps",
            PromQL("sum by (reason) (rate(marea_consumer_rewinds_total[$__rate_interval]))", "{{reason}}"),
        ),
    ],
)
_TIME = Row(
    "Where time goes",
    [
        lines(
            "Slow requests",
            "One in a hundred requests took longer, by service.",
            "s",
            _quantile(0.99, "http_server_request_duration_seconds", "instance"),
            width=THIRD,
        ),
        lines(
            "Slow batches",
            "One in a hundred batches of events took longer to be applied, by feed.",
            "s",
            _quantile(0.99, "messaging_process_duration_seconds", "messaging_consumer_group_name"),
            width=THIRD,
        ),
        lines(
            "Slow statements",
            "One in a hundred statements, or calls for many lanes, took longer, by database.",
            "s",
            _quantile(0.99, "db_client_operation_duration_seconds", "db_system_name"),
            width=THIRD,
        ),
    ],
)

DASHBOARD = Dashboard(
    "marea-path",
    "Path and freshness",
    "How fresh what people see is, and where a change spends its time between a database and a screen.",
    [_FRESH, _LEGS, _RELAY, _APPLIED, _TIME],
    [_CONSUMERS],
    since="now-15m",
    refresh="10s",
)
