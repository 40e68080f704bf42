"""What services, and companies outside, have written down about each order: kept for `verify`, which compares it by ops/balance.py."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from api.services import services
from kernel import settings
from kernel.settings import setting
from kernel.tasks import NoAnswer
from ops import balance
from ops.balance import Books, Pair
from ops.states import CannotVerify, Keyed, Part, States, read_rows

#: Of one order, or product, rows that have to be the same.
Rule = Callable[[str, Books], Iterator[Pair]]


@contextmanager
def kept(partitions: int) -> Iterator[Mapping[str, States]]:
    """By name, each book as it is now. Raises CannotVerify when a company outside does not show its own."""
    with TemporaryDirectory(prefix="marea-books-") as folder:
        books: dict[str, States] = {}
        for service in services():
            for name, query in service.books.items():
                books[name] = States(Path(folder) / name, partitions)
                with read_rows(service.name, query) as rows:
                    books[name].keep(rows)
            for name, read in service.books_outside.items():
                books[name] = States(Path(folder) / name, partitions)
                try:
                    books[name].keep(read(setting))
                except NoAnswer as error:
                    raise CannotVerify(f"nobody can tell whether money is right: {error}") from error
        yield books


def parts(books: Mapping[str, States], rule: Rule, partitions: int) -> Iterator[Part]:
    """What a rule says of all orders, one partition at a time."""
    for partition in range(partitions):
        expected: list[Keyed] = []
        actual: list[Keyed] = []
        for id_, found in _by_id(books, partition).items():
            for key, right, there in rule(id_, found):
                expected += [(key, right)] if right is not None else []
                actual += [(key, there)] if there is not None else []
        yield Part(partition, expected, actual)


def waits() -> Counter[str]:
    """What the orders wait for that are not final, and how many for each. Raises CannotVerify."""
    counted: Counter[str] = Counter()
    with kept(settings.partitions()) as books:
        for partition in range(settings.partitions()):
            for id_, found in _by_id(books, partition).items():
                counted.update(pair.actual["waits_for"] for pair in balance.waiting(id_, found) if pair.actual and pair.actual["waits_for"])
    return counted


def _by_id(books: Mapping[str, States], partition: int) -> dict[str, Books]:
    by_id: dict[str, Books] = defaultdict(Books)
    for name, states in books.items():
        for row in states.of(partition):
            by_id[row["id"]].add(name, row)
    return by_id
