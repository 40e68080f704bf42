"""What a command says when something is expected to go wrong."""

import psycopg2
import pytest
import typer
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.operations import _catching


@pytest.mark.parametrize("error", [RedisConnectionError("refused"), psycopg2.OperationalError("refused"), OSError("refused")])
def test_what_does_not_answer_is_said_in_a_sentence(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """As when the stack is stopped in the middle of a rebuild."""

    def work() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        _catching(work)
    assert ended.value.exit_code == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden() -> None:
    def work() -> None:
        raise KeyError("sku")

    with pytest.raises(KeyError):
        _catching(work)
