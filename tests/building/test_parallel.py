"""Tests of parallel work: order, bounds, errors, and that nothing is left running."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from nih_chest_xray.building import parallel
from nih_chest_xray.building.parallel import map_in_order, side_by_side, worker_count


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("nih_chest_xray")}


def slow_for_even(number: int) -> int:
    time.sleep(0.002 * (number % 2 == 0))
    return number * number


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_order_of_items_with_any_number_of_workers(workers):
    assert list(map_in_order(slow_for_even, range(50), workers)) == [number**2 for number in range(50)]
    assert ours() == set()


def test_work_is_done_at_the_same_time():
    """Each waits until all have begun: one after the other they would wait for ever."""
    together = threading.Barrier(3, timeout=20)
    assert len(list(map_in_order(lambda _: together.wait(), range(3), 3))) == 3


def test_items_are_not_taken_far_ahead_of_results():
    taken = itertools.count()
    results = map_in_order(lambda number: number, iter(lambda: next(taken), None), 2)
    for _ in range(10):
        next(results)
    time.sleep(0.2)
    # 10 fetched, _WAITING for each worker in the works, one that the reader holds in its hand.
    assert next(taken) <= 10 + 2 * parallel._WAITING + 1
    results.close()
    assert ours() == set()


@pytest.mark.parametrize("where", ["function", "items"])
def test_an_error_comes_where_its_result_would_have_and_ends_all_threads(where):
    def items():
        yield from range(5)
        if where == "items":
            raise ValueError("no fifth")
        yield from range(5, 100)

    def function(number):
        if where == "function" and number == 5:
            raise ValueError("no fifth")
        return number

    results = map_in_order(function, items(), 2)
    assert list(itertools.islice(results, 5)) == list(range(5))
    with pytest.raises(ValueError, match="no fifth"):
        next(results)
    assert ours() == set()


def test_closing_stops_the_reader_and_the_workers():
    results = map_in_order(lambda number: number, itertools.count(), 2)
    assert next(results) == 0
    assert ours()
    results.close()
    assert ours() == set()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_all_items_of_all_sources_come_however_many_are_read_at_a_time(threads):
    sources = [range(start, start + 30) for start in (0, 100, 200)]
    items = list(side_by_side(sources, threads))
    assert sorted(items) == [item for source in sources for item in source]
    for source in sources:  # Each in its own order.
        assert [item for item in items if item in source] == list(source)
    assert ours() == set()


def test_sources_are_read_at_the_same_time():
    """Each waits until both are read: one after the other they would wait for ever."""
    together = threading.Barrier(2, timeout=20)
    sources = [(together.wait() for _ in range(1)) for _ in range(2)]
    assert len(list(side_by_side(sources, 2))) == 2


def test_sources_side_by_side_are_not_read_far_ahead():
    taken = itertools.count()
    items = side_by_side([iter(lambda: next(taken), None) for _ in range(3)], 2)
    for _ in range(10):
        next(items)
    time.sleep(0.2)
    assert next(taken) <= 10 + 2 * parallel._WAITING + 2
    items.close()
    assert ours() == set()


def test_an_error_of_one_source_ends_the_reading_of_all():
    def fails():
        yield 0
        raise ValueError("no second")

    with pytest.raises(ValueError, match="no second"):
        list(side_by_side([itertools.count(), fails()], 2))
    assert ours() == set()


def test_the_environment_sets_the_number_of_workers(monkeypatch):
    monkeypatch.setenv(parallel.WORKERS_VARIABLE, "5")
    assert worker_count() == 5
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv(parallel.WORKERS_VARIABLE, bad)
        with pytest.raises(ValueError, match=f"NIH_CHEST_XRAY_WORKERS='{bad}'; expected a whole number of at least 1"):
            worker_count()


def test_by_default_there_are_as_many_workers_as_the_process_may_use_cores():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no CPU affinity")
    one_core = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"{one_core}; from nih_chest_xray.building import parallel"
    environment = {key: value for key, value in os.environ.items() if key != parallel.WORKERS_VARIABLE}
    command = [sys.executable, "-c", f"{code}; print(parallel.worker_count())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip() == "1"


SCRIPT = """
import sys, threading
import nih_chest_xray

config = nih_chest_xray.NihChestXrayConfig(
    name="p", phantom_patients=int(sys.argv[2]), image_size=16, validation_fraction=0.2, test_fraction=0.2
)
builder = nih_chest_xray.Builder(config=config, data_dir=sys.argv[1])
print("begun", flush=True)
try:
    builder.download_and_prepare()
    print("built", sum(split.num_examples for split in builder.info.splits.values()))
finally:
    print("threads", [t.name for t in threading.enumerate() if t.name.startswith("nih_chest_xray")])
"""


@pytest.mark.slow
def test_a_plain_script_without_a_main_guard_builds(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "data"), "20"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "built" in out
    assert "threads []" in out


def test_ctrl_c_ends_a_build_at_once_and_leaves_nothing(tmp_path):
    """Thousands of patients would take minutes."""
    # Where the tests run in the background, a shell may have them, and so this script, ignore Ctrl-C.
    heeding = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    (tmp_path / "script.py").write_text(heeding + textwrap.dedent(SCRIPT))
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "data"), "2000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "begun"
    deadline = time.monotonic() + 60
    while not list((tmp_path / "data").glob("**/*incomplete*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - interrupted < 20
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert "threads []" in out
    # TFDS itself keeps a note of each config that it was asked for; the lock of a build stays too.
    files = [path for path in (tmp_path / "data").glob("**/*") if path.is_file() and ".config" not in path.parts]
    assert [path.name for path in files] == [".2.0.0.lock"]
