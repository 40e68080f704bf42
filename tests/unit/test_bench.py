import os
import subprocess
import sys

import pytest

from bench import cpu, machine
from bench.cpu import LOAD, REST, TOTAL, Meter, Process, component, parse, ticks_by_component
from bench.measures import Saga
from bench.more_consumers import More, summary
from bench.ratios import ratios
from bench.shapes import repeated, two_lines
from bench.stopwatch import Mark, Stopwatch, between

STAT = "42 (tmux: (a) b) S 7 42 42 0 -1 4194560 100 200 0 0 11 13 17 19 20 0 1 0 1000 2000 30"
SERVICES = frozenset({"catalog", "orders", "inventory"})


def test_a_process_has_its_own_time_and_that_of_its_ended_children_whatever_its_name() -> None:
    assert parse(STAT) == Process(parent=7, ticks=11 + 13 + 17 + 19)


def test_this_process_can_be_read() -> None:
    assert cpu.snapshot()[os.getpid()].parent == os.getppid()


def test_what_descends_from_a_program_counts_as_the_program() -> None:
    processes = {1: Process(0, 1), 10: Process(1, 5), 11: Process(10, 20), 12: Process(11, 300)}

    assert ticks_by_component(processes, {10: "orders"}) == {"orders": 325}


def test_below_another_root_the_nearer_one_counts() -> None:
    processes = {10: Process(1, 5), 11: Process(10, 20), 12: Process(11, 300), 13: Process(10, 4_000)}

    assert ticks_by_component(processes, {10: REST, 11: "kafka"}) == {REST: 4_005, "kafka": 320}


def test_the_time_of_a_child_that_has_ended_is_not_lost() -> None:
    meter = Meter({})

    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)

    used_ms = meter.used_ms()
    assert used_ms[LOAD] >= 50
    assert used_ms[TOTAL] == used_ms[LOAD]


def test_a_program_that_ended_meanwhile_spoils_the_measurement() -> None:
    program = subprocess.Popen(["sleep", "60"])
    meter = Meter({program.pid: "kafka"})
    program.kill()
    program.wait()

    with pytest.raises(cpu.ProgramEnded, match="kafka"):
        meter.used_ms()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("orders", "orders"),
        ("inventory", "services"),
        ("worker-2", "workers"),
        ("postgresql", "postgresql"),
        ("keep", REST),
    ],
)
def test_each_program_is_of_one_component(program: str, expected: str) -> None:
    assert component(program, SERVICES) == expected


def test_companies_outside_are_a_component_of_their_own() -> None:
    assert {component(name, SERVICES) for name in ("provider", "carrier")} == {"companies"}


def test_figures_are_compared_with_those_measured_right_after() -> None:
    # The machine became twice as slow in between: both pairs say 2, though the sums would not.
    fast, slow = ({"drain": 200.0}, {"drain": 100.0}), ({"drain": 100.0}, {"drain": 50.0})

    assert ratios([fast, slow]) == {"drain": {"ratio": 2.0, "low": 2.0, "high": 2.0}}


def test_a_ratio_is_the_median_of_its_pairs_with_the_lowest_and_the_highest() -> None:
    pairs = [({"drain": each}, {"drain": 10.0}) for each in (30.0, 10.0, 20.0)]

    assert ratios(pairs) == {"drain": {"ratio": 2.0, "low": 1.0, "high": 3.0}}


def test_what_one_of_the_runs_did_not_measure_is_not_compared() -> None:
    pairs = [
        ({"drain": 1.0, "saga": 2.0}, {"drain": 1.0}),
        ({"drain": 1.0, "saga": 2.0}, {"drain": 1.0, "saga": 1.0}),
    ]

    assert list(ratios(pairs)) == ["drain"]


def test_orders_of_two_lines_are_the_same_in_every_run_and_have_two_products() -> None:
    skus = [str(number) for number in range(50)]

    assert two_lines(skus, 100) == two_lines(skus, 100)
    assert all(len({sku for sku, _ in lines}) == 2 for _, lines in two_lines(skus, 100))


def test_repeated_orders_are_never_taken_for_one_another() -> None:
    orders = repeated([("ada", [("milk", 1)])], "run-1")

    keys = [next(orders).key for _ in range(10)]

    assert len(set(keys)) == 10


def test_speed_leaves_out_what_was_done_until_the_first_batch() -> None:
    first = Mark(1_000, 10.0, {LOAD: 5_000.0, "redis": 100.0})
    last = Mark(3_000, 12.0, {LOAD: 5_200.0, "redis": 140.0})

    assert between(first, last) == (1_000.0, 100.0, 20.0)


def test_there_is_no_speed_unless_all_events_were_done_and_not_all_at_once() -> None:
    stopwatch = Stopwatch(os.getppid(), 100)
    stopwatch.hear(50)
    with pytest.raises(ValueError, match="not all of 100 events"):
        stopwatch.speed()

    at_once = Stopwatch(os.getppid(), 100)
    at_once.hear(100)
    with pytest.raises(ValueError, match="in one batch"):
        at_once.speed()


def test_the_machine_is_summed_up_from_before_and_after() -> None:
    before = {"python_ms": 40.0, "sha256_ms": 10.0, "two_at_once": 1.0}
    after = {"python_ms": 60.0, "sha256_ms": 12.0, "two_at_once": 1.5}

    assert machine.summary(before, after) == {
        "python_ms": 50.0,
        "sha256_ms": 11.0,
        "two_at_once": 1.25,
        "drift": 1.5,
    }


def test_what_a_view_costs_is_what_the_stack_takes_more_a_view_and_event() -> None:
    def saga(total_ms: float) -> Saga:
        return Saga(100.0, 0, {LOAD: 0.5, TOTAL: total_ms})

    sagas = [(More(), 3.4), (More(folding=10), 4.0), (More(ignoring=20), 3.54), (More(), 3.6)]

    found = summary([(more, saga(total_ms)) for more, total_ms in sagas])

    assert found["folded_event_us"] == {"10": 16.67}
    assert found["ignored_event_us"] == {"20": 0.67}


def test_the_workers_app_gets_the_views_that_are_added() -> None:
    print_views = "import bench.more_app, api.services; print(*api.services.views())"
    environment = {**os.environ, "MORE_FOLDING": "2", "MORE_IGNORING": "1", "MAREA_KAFKA": "127.0.0.1:1"}

    said = subprocess.run(
        [sys.executable, "-c", print_views], check=True, capture_output=True, text=True, env=environment
    )

    assert {"order", "folding_0", "folding_1", "ignoring_0"} <= set(said.stdout.split())
