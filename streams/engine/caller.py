"""Tasks become calls, and what is answered is recorded: those of one service, in threads of their own.

Calls are made by as many threads as each kind of them may have. One more takes tasks on and records all that has come back,
several answers in one transaction; it alone has a connection.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any

from psycopg2.extensions import cursor as Cursor

from kernel import tasks
from kernel.clock import Clock
from kernel.pauses import backoff_s
from kernel.postgres import PreparedConnection, connect_briefly
from kernel.tasks import MOST_ATTEMPTS, Answered, Call, NoAnswer, NotTried, Task, Unanswered
from streams.engine.lane import reason_of

log = logging.getLogger(__name__)

#: Seconds of rest after a look, at most: no longer than it took.
MOST_REST_S = 0.03
#: Seconds between two looks, unless somebody says that there is something to do.
LOOK_S = 0.25
#: Seconds for which a kind of calls rests of which one was not tried.
REST_S = 1.0
#: The pause after a first failure of the database, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0


@dataclass(eq=False)
class _Outcome:
    """What became of one try: an answer, or why there is none."""

    task: Task
    answer: Any = None
    error: Exception | None = None


class Caller:
    """Makes the calls of one service. Any number of them may run side by side."""

    def __init__(
        self, url: str, calls: Iterable[Call], setting: Callable[[str], str], clock: Clock, awake: Event
    ) -> None:
        """Raises what a call's `open` raises, as when a setting is missing.

        `awake` is for whoever has asked for a call, perhaps, to have it made at once.
        """
        self._url = url
        self._clock = clock
        self._bulkheads = {call.kind: _Bulkhead(call, call.open(setting), self._return) for call in calls}
        self._open: PreparedConnection | None = None
        self._returned: SimpleQueue[_Outcome] = SimpleQueue()
        self._unrecorded: list[_Outcome] = []
        self._awake = awake
        self._stopping = Event()

    def start(self) -> None:
        """Works until stopped, in threads that end with their process, however that ends."""
        self._thread = Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks to end after the calls that are being made."""
        self._stopping.set()
        self._awake.set()

    def join(self, timeout_s: float) -> None:
        """Waits for what is being done to end. Calls that take longer are made again by somebody else."""
        self._thread.join(timeout_s)

    def run_due(self) -> None:
        """Records what has come back, and has as many calls made as may be. Raises psycopg2.Error."""
        self._collect()
        self._record()
        if not self._stopping.is_set():
            self._claim()

    def close(self) -> None:
        """Ends the threads that make calls, once they have made them, and the connection."""
        for each in self._bulkheads.values():
            each.close()
        if self._open:
            self._open.close()

    def _run(self) -> None:
        failures = 0
        while not (self._stopping.is_set() and self._is_idle()):
            self._awake.wait(LOOK_S)
            self._awake.clear()
            began = monotonic()
            try:
                self.run_due()
                failures = 0
                # What comes back meanwhile shares the next transaction.
                self._stopping.wait(min(monotonic() - began, MOST_REST_S))
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said
                failures += 1
                log.warning("tasks wait, tries again (attempt %d): %s", failures, reason_of(error))
                self._stopping.wait(backoff_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S))
        self.close()

    def _is_idle(self) -> bool:
        return not self._unrecorded and not any(each.busy for each in self._bulkheads.values())

    def _return(self, outcome: _Outcome) -> None:
        """From any thread."""
        self._returned.put(outcome)
        self._awake.set()

    def _collect(self) -> None:
        try:
            while True:
                outcome = self._returned.get_nowait()
                self._bulkheads[outcome.task.kind].returned(outcome)
                self._unrecorded.append(outcome)
        except Empty:
            pass

    def _claim(self) -> None:
        room = {kind: (each.room, each.call.lease_s) for kind, each in self._bulkheads.items() if each.room}
        if room:
            with self._connection().cursor() as cursor:
                claimed = tasks.claim(cursor, room, self._clock.now())
            for task in claimed:
                self._bulkheads[task.kind].make(task)

    def _record(self) -> None:
        """What was answered, failed and not tried, each in transactions of its own: each locks in order of ids."""
        for kind, bulkhead in self._bulkheads.items():
            mine = [each for each in self._unrecorded if each.task.kind == kind]
            self._settle(bulkhead.call, self._record_answered, [each for each in mine if each.error is None])
            not_tried = [each for each in mine if isinstance(each.error, NotTried)]
            self._settle(bulkhead.call, self._postpone, not_tried)
            failed = [each for each in mine if each.error is not None and each not in not_tried]
            self._settle(bulkhead.call, self._put_off, failed)

    def _settle(
        self, call: Call, record: Callable[[Cursor, Call, Sequence[_Outcome]], None], outcomes: Sequence[_Outcome]
    ) -> None:
        """One transaction. When it fails each gets one of its own, so that only those that fail themselves are put off."""
        if not outcomes:
            return
        connection = self._connection()
        try:
            with connection, connection.cursor() as cursor:
                record(cursor, call, outcomes)
        except Exception as error:
            if connection.is_gone:
                raise
            if len(outcomes) > 1:
                for each in outcomes:
                    self._settle(call, record, [each])
            elif record == self._put_off:
                log.exception("task %s: its service can't be told that it failed", outcomes[0].task.id)
                self._leave(outcomes[0], error)
            else:
                outcomes[0].error = error
                self._settle(call, self._put_off, outcomes)
            return
        self._unrecorded = [each for each in self._unrecorded if each not in outcomes]

    def _record_answered(self, cursor: Cursor, call: Call, outcomes: Sequence[_Outcome]) -> None:
        context = self._clock.context()
        first = tasks.done(cursor, [each.task.id for each in outcomes], context.now)
        answered = {each.task.id: Answered(each.task, each.answer) for each in outcomes if each.task.id in first}
        if answered:
            call.record(cursor, list(answered.values()), context)

    def _postpone(self, cursor: Cursor, call: Call, outcomes: Sequence[_Outcome]) -> None:
        tasks.postpone(cursor, [(each.task, _said(each)) for each in outcomes], self._clock.now())

    def _put_off(self, cursor: Cursor, call: Call, outcomes: Sequence[_Outcome]) -> None:
        """The service is told of calls whose outcome nobody knows, and of all that are given up."""
        context = self._clock.context()
        failed = [Unanswered(each.task, _said(each), each.task.attempts >= MOST_ATTEMPTS) for each in outcomes]
        mine = tasks.put_off(cursor, failed, context.now)
        told = [
            failure
            for failure, each in zip(failed, outcomes, strict=True)
            if failure.task.id in mine and (failure.is_given_up or isinstance(each.error, NoAnswer))
        ]
        for each in outcomes:
            _say(each)
        if told:
            call.unanswered(cursor, told, context)

    def _leave(self, outcome: _Outcome, error: Exception) -> None:
        """Our own code fails on the failure, too: the task rests, and is not given up, as its service would not know."""
        with self._connection().cursor() as cursor:
            tasks.put_off(cursor, [Unanswered(outcome.task, reason_of(error), is_given_up=False)], self._clock.now())
        self._unrecorded.remove(outcome)

    def _connection(self) -> PreparedConnection:
        """Each statement on it is a transaction of its own, but for those within a `with` on it."""
        if self._open is None or self._open.is_gone:
            self._open = connect_briefly(self._url, "calls")
        return self._open


class _Bulkhead:
    """The threads that make the calls of one kind: however long these take, no other kind waits for them."""

    def __init__(self, call: Call, make: Callable[[Task], Any], on_return: Callable[[_Outcome], None]) -> None:
        self.call = call
        #: Calls that are being made, or whose outcome nobody has collected.
        self.busy = 0
        self._make = make
        self._return = on_return
        self._rests_until = 0.0
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = 0

    @property
    def room(self) -> int:
        """How many more calls may be made now."""
        return self.call.threads - self.busy if monotonic() >= self._rests_until else 0

    def make(self, task: Task) -> None:
        """Has the call made, unless it is to be given up."""
        self.busy += 1
        if task.is_spent:
            self._return(_Outcome(task, error=NoAnswer("whoever made the last call has said nothing of it")))
        else:
            self._tasks.put(task)
            if self._threads < self.busy:
                self._threads += 1
                Thread(target=self._work, name=f"{self.call.kind} {self._threads}", daemon=True).start()

    def returned(self, outcome: _Outcome) -> None:
        """A call has come back. After one that was not tried no other is, for a while."""
        self.busy -= 1
        if isinstance(outcome.error, NotTried):
            self._rests_until = monotonic() + REST_S

    def close(self) -> None:
        """Ends the threads."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while task := self._tasks.get():
            outcome = _Outcome(task)
            try:
                outcome.answer = self._make(task)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is recorded
                outcome.error = error
            self._return(outcome)


def _said(outcome: _Outcome) -> str:
    return reason_of(outcome.error) if outcome.error else ""


def _say(outcome: _Outcome) -> None:
    """A call that was not answered is to be expected; anything else is a fault of ours."""
    task, error = outcome.task, outcome.error
    if isinstance(error, NoAnswer):
        log.info("task %s (%s, attempt %d): %s", task.id, task.kind, task.attempts, reason_of(error))
    else:
        log.error("task %s (%s, attempt %d) fails", task.id, task.kind, task.attempts, exc_info=error)
