"""A reaction that starts now begins at its topics' ends, though these were made just now."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from ops import starts

ENDS = {"marea.order": {0: 7}}


def failing(times: int, code: int) -> Callable[[], Any]:
    errors = iter([KafkaException(KafkaError(code))] * times)

    def ends() -> Any:
        for error in errors:
            raise error
        return ENDS

    return ends


@pytest.mark.parametrize("code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_a_topic_that_has_no_leader_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(starts, "topics_ends", failing(2, code))
    assert starts._ends() == ENDS  # noqa: SLF001  what `note_starts` begins with


def test_a_topic_that_may_not_be_read_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "topics_ends", failing(1, KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(KafkaException):
        starts._ends()  # noqa: SLF001
