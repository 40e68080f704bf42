"""Where an INSERT ends and its data begins."""

import pytest

from local.chdb_server import Refused, split_insert


@pytest.mark.parametrize(
    ("text", "sql", "data_format", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "CSV", b"1,2\n"),
        (b"insert into t (a) format Native\r\n\x00\xff", "insert into t (a) ", "Native", b"\x00\xff"),
        (b"INSERT INTO t FORMAT CSV  1,2", "INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\n\n1", "INSERT INTO t ", "CSV", b"\n1"),
        (b"INSERT INTO `FORMAT x` FORMAT TSV\n1", "INSERT INTO `FORMAT x` ", "TSV", b"1"),
        (b"INSERT INTO t /* FORMAT x */ FORMAT TSV\n1", "INSERT INTO t /* FORMAT x */ ", "TSV", b"1"),
        (b"-- FORMAT x\nINSERT INTO t FORMAT TSV\n1", "-- FORMAT x\nINSERT INTO t ", "TSV", b"1"),
        (b"INSERT INTO t FORMAT Native\n", "INSERT INTO t ", "Native", b""),
    ],
)
def test_an_insert_is_split_from_its_data(text: bytes, sql: str, data_format: str, data: bytes) -> None:
    assert split_insert(text) == (sql, data_format, data)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 FORMAT JSON",
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t FORMAT Values (1)",
        b"INSERT INTO t SELECT 1 FORMAT Null",
        b"INSERT INTO t WITH 1 AS x SELECT x",
        b"",
    ],
)
def test_anything_else_is_a_statement_as_a_whole(text: bytes) -> None:
    assert split_insert(text) == (text.decode(), None, b"")


def test_a_statement_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Refused, match="not UTF-8"):
        split_insert(b"SELECT '\xff'")
