"""Parallel: applies a function on all cores, in threads, with results in order and memory bounded.

Threads serve because decoding, resizing and encoding leave Python's lock alone. They need no `if __name__ ==
'__main__'`, start at once, share what is in memory, and end with the process.
"""

from __future__ import annotations

import concurrent.futures
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

import loky

WORKERS_VARIABLE = "NIH_CHEST_XRAY_WORKERS"
"""The environment variable that sets the number of workers."""

_WAITING = 4
"""Items in the works for one worker: the one that it has, and some that are read or whose result is not fetched yet."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def worker_count() -> int:
    """Returns how many workers a build has: as many as cores that this process may use, unless the variable says.

    Raises:
      ValueError: The variable holds no positive whole number.
    """
    said = os.environ.get(WORKERS_VARIABLE, "").strip()
    if not said:
        return loky.cpu_count()  # Heeds CPU affinity and the limits of a container, as os.cpu_count does not.
    if not said.isdecimal() or int(said) == 0:
        raise ValueError(f"{WORKERS_VARIABLE}={said!r}; expected a whole number of at least 1")
    return int(said)


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Generator[_Result, None, None]:
    """Yields the function's result for each item, in the order of the items.

    Items are taken in a thread of their own, so that reading them overlaps with the work on them; never more than a few
    for each worker are held. When the iterator is closed, or an error ends it, no thread is left.

    Args:
      function: Is called in threads.
      items: Are taken as results are fetched.
      workers: Number of threads that call the function.

    Raises:
      Exception: What the function or the items raised, where its result would have come.
    """
    pool = concurrent.futures.ThreadPoolExecutor(workers, "nih_chest_xray")
    results: queue.SimpleQueue[concurrent.futures.Future | None] = queue.SimpleQueue()
    free = threading.Semaphore(_WAITING * workers)
    stopped = threading.Event()

    def feed() -> None:
        try:
            for item in items:
                free.acquire()
                if stopped.is_set():
                    return
                results.put(pool.submit(function, item))
        except BaseException as error:
            failed: concurrent.futures.Future = concurrent.futures.Future()
            failed.set_exception(error)
            results.put(failed)
        finally:
            results.put(None)

    feeder = threading.Thread(target=feed, name="nih_chest_xray_reader", daemon=True)
    feeder.start()
    try:
        while (future := results.get()) is not None:
            yield future.result()
            free.release()
    finally:
        stopped.set()
        free.release()
        pool.shutdown(wait=False, cancel_futures=True)
        feeder.join()
        pool.shutdown(wait=True)
