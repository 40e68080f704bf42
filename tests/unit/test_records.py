"""Whatever a Kafka record is, it is an event or Undecodable."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.services import consumers, reactions
from kernel.limits import MAX_EVENT_BYTES, MAX_KEY_BYTES, MAX_NUMBER
from schemas import order, stock
from schemas.bounds import MAX_PARTS
from schemas.codec import LEARNED, TYPES, Codec, Undecodable, UnknownType
from schemas.event import Event
from streams.engine import feed
from streams.engine.batch import UNREADABLE, Item, Place, Record, aggregate_id, decode, read
from streams.engine.consumer import Consumer, Reaction, Table, consumer_id
from streams.engine.feed import Feed
from streams.engine.stores import LaneId
from tests.events import CODEC, LIVES, life, record
from tests.lives import Shop
from tests.memory_services import MemoryDatabase
from tests.memory_store import Handlers, MemoryStore

TOPIC = order.TOPIC
[PLACED, *_] = life(TOPIC)
WHOLE = record(0, PLACED)


def of_type(name: str, *fields: Any, namespace: str = TOPIC) -> str:
    named = [{"name": f"f{number}", "type": field} for number, field in enumerate(fields)]
    return json.dumps({"type": "record", "name": name, "namespace": namespace, "fields": named})


def nested(depth: int) -> str:
    return '{"type":"array","items":' * depth + '"long"' + "}" * depth


#: What others may have registered, from the id 1,000 on.
FOREIGN = [
    of_type("OrderPlaced", "string"),
    of_type("OrderPlaced", namespace="elsewhere"),
    of_type("OrderPlaced", ["null", "OrderPlaced"]),
    of_type("OrderConfirmed", {"type": "array", "items": "null"}),
    of_type("OrderConfirmed", "nowhere.Unknown"),
    of_type("SomethingNew", "string"),
    json.dumps({"type": "enum", "name": "OrderPlaced", "namespace": TOPIC, "symbols": ["A"]}),
    json.dumps(["null", "string"]),
    '"string"',
    "{",
    "null",
    "",
    nested(10),
    nested(50_000),
]
IDS = {text: 1_000 + number for number, text in enumerate(FOREIGN)}


def fetch(schema_id: int) -> str:
    if schema_id - 1_000 in range(len(FOREIGN)):
        return FOREIGN[schema_id - 1_000]
    raise Undecodable(f"schema id {schema_id} is not in the registry")


REGISTERED = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, fetch)


def event(whole: Record = WHOLE, codec: Codec = REGISTERED) -> Event:
    return decode(whole, codec, TOPIC)


def with_header(name: str, value: bytes | None) -> Record:
    return WHOLE._replace(headers=[(each, value if each == name else old) for each, old in WHOLE.headers])


def avro(schema_id: int, body: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + body


BODIES = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([CODEC.encode(type_, data)[5:] for lives in LIVES.values() for type_, _, data in lives]),
    st.integers(1, 5_000).map(lambda length: b"\2" * length),
)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.builds(avro, st.sampled_from([*range(len(TYPES) + 2), *IDS.values()]), BODIES),
)
KEYS = st.one_of(st.none(), st.binary(max_size=300), st.text(max_size=10).map(str.encode))
PAIRS = st.tuples(
    st.sampled_from([*(name for name, _ in WHOLE.headers), "traceparent", "other"]),
    st.one_of(st.none(), st.binary(max_size=40), st.sampled_from([value for _, value in WHOLE.headers])),
)
#: The whole envelope with some headers too many, or any headers.
HEADERS = st.one_of(
    st.lists(PAIRS, max_size=2).map(lambda more: [*WHOLE.headers, *more]), st.lists(PAIRS, max_size=7), st.none()
)
#: All of one leader: when that goes back, a lane has to stand still.
RECORDS = st.builds(Record, st.just(0), KEYS, VALUES, HEADERS, st.just(-1), st.just(0.0))
TYPE_HEADERS = st.one_of(st.sampled_from([*TYPES, "SomethingNew"]), st.text(max_size=5))


@settings(deadline=None)
@given(RECORDS, TYPE_HEADERS)
def test_any_record_is_an_event_or_undecodable(told: Record, type_: str) -> None:
    headers = [(name, type_.encode() if name == "type" else value) for name, value in told.headers or ()]
    for each in (told, told._replace(headers=headers), told._replace(key=b"milk", headers=headers)):
        try:
            found = decode(each, REGISTERED, TOPIC)
        except Undecodable:
            continue
        assert TYPES[found.type].topic == TOPIC
        assert found.data.keys() == {field["name"] for field in TYPES[found.type].schema["fields"]}  # type: ignore[index, call-overload]
        assert found.key == aggregate_id(each)


def handlers() -> Handlers:
    """Every reaction's, in transactions of its service's store in memory. The order whose life is told is placed."""
    shop = Shop()
    shop.orders.place(PLACED, None, {})

    def of(name: str, react: Callable[[Sequence[Any]], None]) -> Callable[[Sequence[Event]], None]:
        store = getattr(shop, name.partition(".")[0])

        def handle(events: Sequence[Event]) -> None:
            with MemoryDatabase(store).transaction():
                react(events)

        return handle

    return {f"reaction.{name}": of(name, react) for name, react in shop.hearing().items()}


def handle(consumer: Consumer, records: Sequence[Record]) -> MemoryStore:
    """What a consumer makes of the first records of its topic, if what a reaction does not find never comes."""
    store = MemoryStore(handlers())
    running = Feed("test", [consumer], store, REGISTERED)
    place = Place(consumer.topic, 0)
    running.assign([place])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "FIRST_PAUSE_S", 0.0)
        patch.setattr(feed, "PATIENCE_S", -1.0)
        running.handle([running.batch(place, 0, records)])
        for _ in records:
            running.replay([running.batch(place, 0, records)])
    return store


def each_has_ended(consumer: Consumer, told: Sequence[Record]) -> None:
    """Each of these records is applied, skipped or parked, and an event that follows them is not touched by them.

    That waits only if one of its own aggregate is parked.
    """
    first, *_ = life(consumer.topic)
    records = [each._replace(offset=offset) for offset, each in enumerate([*told, record(0, first)])]
    store, lane = handle(consumer, records), LaneId(consumer_id(consumer), 0)
    assert store.positions_by_lane[lane] == len(records)

    *before, last = [read(each, REGISTERED, consumer.topic) for each in records]
    parked = store.parked_events[lane]
    assert (last.offset in parked) == any(item.key == last.key for item in before if item.offset in parked)
    passed = [item for item in [*before, last] if item.offset not in parked]
    if isinstance(consumer, Table):
        assert store.records[lane] == [(item.offset, row) for item in passed for row in consumer.rows(event_of(item))]
        return
    starts_now = isinstance(consumer, Reaction) and consumer.start == "now"
    applied = list(map(event_of, without_skipped(passed, starts_now=starts_now)))
    assert store.versions[lane] == {each.key: each.version for each in applied}
    if isinstance(consumer, Reaction):
        assert store.events[lane] == [each for each in applied if each.type in consumer.types]


def event_of(item: Item) -> Event:
    assert item.event, f"not an event, and not parked: {item.reason}"
    return item.event


def without_skipped(items: Iterable[Item], *, starts_now: bool) -> Iterator[Item]:
    """Those that are not of a version that has been before: each aggregate's have to be 1, 2, ...; or begin later."""
    versions: Counter[str] = Counter()
    for item in items:
        if item.version > versions[item.key]:
            versions[item.key] = item.version if starts_now and item.key not in versions else versions[item.key] + 1
            assert item.version == versions[item.key]
            yield item


EVERY_CONSUMER = pytest.mark.parametrize("consumer", consumers(), ids=consumer_id)
#: Events of all topics: to three of four consumers each is of another topic. Some are of an aggregate of their own.
EVENTS = st.builds(
    lambda event, key: record(0, event._replace(key=key or event.key)),
    st.sampled_from([event for topic in LIVES for event in life(topic)]),
    st.sampled_from([None, "a", "b"]),
)


def test_every_reaction_has_its_handler_here() -> None:
    assert handlers().keys() == {consumer_id(each) for each in reactions().values()}


@EVERY_CONSUMER
@settings(deadline=None)
@given(st.lists(st.one_of(EVENTS, RECORDS), min_size=1, max_size=5))
def test_whatever_comes_a_consumer_applies_skips_or_parks_and_goes_on(consumer: Consumer, told: list[Record]) -> None:
    each_has_ended(consumer, told)


@EVERY_CONSUMER
def test_a_value_larger_than_any_that_we_write_ends_as_any_other(consumer: Consumer) -> None:
    """Others may write them: one that is an event, and one that is none."""
    first, *_ = life(consumer.topic)
    text = next(name for name, value in first.data.items() if isinstance(value, str))
    large = record(0, first._replace(key="a", data=first.data | {text: "x" * 2 * MAX_EVENT_BYTES}))
    each_has_ended(consumer, [large, record(0, first._replace(key="b"), bytes(2 * MAX_EVENT_BYTES))])


@settings(deadline=None)
@given(st.sampled_from([text for text in FOREIGN if "Order" in text]), BODIES)
def test_no_foreign_schema_is_read_as_one_of_ours(text: str, body: bytes) -> None:
    for type_ in ("OrderPlaced", "OrderConfirmed"):
        with pytest.raises(Undecodable):
            event(with_header("type", type_.encode())._replace(value=avro(IDS[text], body)))


@pytest.mark.parametrize("bytes_", [10, 10_000, 1_900_000])
def test_a_type_that_contains_itself_does_not_exhaust_the_stack(bytes_: int) -> None:
    """Reading it ends the process with SIGSEGV."""
    value = avro(IDS[of_type("OrderPlaced", ["null", "OrderPlaced"])], b"\2" * bytes_ + b"\0")
    with pytest.raises(Undecodable, match=f"more than {MAX_PARTS} parts"):
        event(WHOLE._replace(value=value))


def test_an_array_of_nothing_does_not_last_for_ever() -> None:
    quintillions = avro(
        IDS[of_type("OrderConfirmed", {"type": "array", "items": "null"})], b"\xfe" + b"\xff" * 8 + b"\1\0"
    )
    with pytest.raises(Undecodable, match="takes no bytes"):
        event(with_header("type", b"OrderConfirmed")._replace(value=quintillions))


def test_an_event_of_a_type_that_only_newer_code_knows_is_told_from_a_foreign_record() -> None:
    value = avro(IDS[of_type("SomethingNew", "string")], b"\2a")
    with pytest.raises(UnknownType, match="does not know SomethingNew"):
        event(with_header("type", b"SomethingNew")._replace(value=value))
    with pytest.raises(Undecodable) as refused:
        event(with_header("type", b"SomethingNew"))
    assert not isinstance(refused.value, UnknownType)


def test_a_value_of_another_type_or_topic_than_the_header_says_is_undecodable() -> None:
    with pytest.raises(Undecodable, match=r"is a marea\.order\.OrderPlaced, not a marea\.order\.OrderConfirmed"):
        event(with_header("type", b"OrderConfirmed"))
    with pytest.raises(Undecodable, match=r"is a marea\.order\.OrderPlaced, not a marea\.stock\.OrderPlaced"):
        decode(WHOLE, CODEC, stock.TOPIC)


def test_what_older_and_newer_code_wrote_is_read_as_ours() -> None:
    confirmed = TYPES["OrderConfirmed"]
    older = json.loads(confirmed.text)
    newer = older | {"fields": [*older["fields"], {"name": "note", "type": "string", "default": ""}]}
    codec = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, lambda _: json.dumps(newer))
    [settled] = [each for each in life(TOPIC) if each.type == "OrderConfirmed"]
    body = CODEC.encode("OrderConfirmed", settled.data)[5:] + b"\4hi"
    assert event(record(0, settled, avro(77, body)), codec) == settled


def test_a_registry_that_is_away_says_nothing_about_the_record() -> None:
    def away(schema_id: int) -> str:
        raise ConnectionError("away")

    codec = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, away)
    with pytest.raises(ConnectionError):
        event(WHOLE._replace(value=avro(99, b"")), codec)


def test_what_is_not_to_be_encoded_is_read_all_the_same() -> None:
    texts = {schema_id: TYPES[name].text for schema_id, name in enumerate(sorted(TYPES), 1)}
    codec = Codec({}, texts.__getitem__)
    for each in life(TOPIC):
        assert event(record(0, each), codec) == each
    with pytest.raises(KeyError):
        codec.encode("OrderPlaced", {})


def test_schemas_that_are_kept_are_bounded() -> None:
    asked: list[int] = []

    def fetch(schema_id: int) -> str:
        asked.append(schema_id)
        return of_type("OrderPlaced", "string")

    codec = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, fetch)
    for schema_id in [*range(1_000, 1_001 + LEARNED), 1_000, 1_000]:
        with pytest.raises(Undecodable, match="SchemaResolutionError"):
            event(WHOLE._replace(value=avro(schema_id, b"\2a")), codec)
    assert len(asked) == LEARNED + 2


@pytest.mark.parametrize("name", ["id", "type", "version", "occurred_at"])
def test_each_header_of_the_envelope_comes_just_once(name: str) -> None:
    headers = [header for header in WHOLE.headers if header[0] != name]
    for missing in (WHOLE._replace(headers=headers), with_header(name, None)):
        with pytest.raises(Undecodable, match=f"the envelope has no header '{name}'"):
            event(missing)
    with pytest.raises(Undecodable, match=f"more than one header '{name}'"):
        event(WHOLE._replace(headers=[*WHOLE.headers, (name, b"")]))


def test_other_headers_mean_nothing() -> None:
    assert event(WHOLE._replace(headers=[*WHOLE.headers, ("other", None), ("other", b"\xff")])) == event()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", b"event-1"),
        ("id", PLACED.id.encode() + b"\n"),
        ("type", b"Order Placed"),
        ("type", b""),
        ("version", b"two"),
        ("version", b"0"),
        ("version", b"-1"),
        ("version", b"+1"),
        ("version", b" 1"),
        ("version", b"1_0"),
        ("version", "\u0661".encode()),  # a digit, of Arabic
        ("version", str(MAX_NUMBER + 1).encode()),
        ("version", str(2**64).encode()),
        ("version", b"9" * 5_000),
        ("occurred_at", b"yesterday"),
        ("occurred_at", b"2026-01-01T12:00:00"),
        ("occurred_at", b"0001-01-01T00:00:00+14:00"),
        ("occurred_at", b"9999-12-31T23:59:59-14:00"),
        ("traceparent", b"\0"),
        ("traceparent", b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01"),
    ],
)
def test_a_malformed_header_is_undecodable(name: str, value: bytes) -> None:
    traced = WHOLE._replace(headers=[*WHOLE.headers, ("traceparent", value)])
    with pytest.raises(Undecodable, match=f"the header '{name}' is"):
        event(traced if name == "traceparent" else with_header(name, value))


def test_the_largest_version_is_read() -> None:
    assert event(with_header("version", str(MAX_NUMBER).encode())).version == MAX_NUMBER


def test_when_it_happened_is_utc() -> None:
    moment = event(with_header("occurred_at", b"2026-01-01T14:00:01+02:00")).occurred_at
    assert (moment, moment.tzinfo) == (PLACED.occurred_at, UTC)


@pytest.mark.parametrize(
    "key", [None, b"", b"\0\0\0\0\5a", b"mil\0k", b"\xff", b"a" * (MAX_KEY_BYTES + 1), UNREADABLE.encode() + b"x"]
)
def test_a_key_that_is_no_id_is_undecodable(key: bytes | None) -> None:
    with pytest.raises(Undecodable, match="key"):
        event(WHOLE._replace(key=key))


@settings(deadline=None)
@given(st.binary(max_size=MAX_KEY_BYTES + 2), st.binary(max_size=MAX_KEY_BYTES + 2))
@example(b"\xff", UNREADABLE.encode() + b"ff")
@example(b"a" * (MAX_KEY_BYTES + 1), b"a" * (MAX_KEY_BYTES + 2))
def test_every_key_has_an_id_of_its_own_that_every_store_can_keep(one: bytes, other: bytes) -> None:
    ids = [aggregate_id(WHOLE._replace(key=key)) for key in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)
    for each in ids:
        assert "\0" not in each
        assert 0 < len(each.encode()) <= MAX_KEY_BYTES


