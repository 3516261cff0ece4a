"""Parallel: applies a function on all cores, in threads, with results in order and bounded memory.

Threads suffice because decoding, resizing and encoding release Python's global interpreter lock. They need no `if
__name__ == '__main__'`, start at once, share memory, and end with the process.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

import loky

WORKERS_VARIABLE = "NIH_CHEST_XRAY_WORKERS"
"""The environment variable that sets the number of workers."""

_WAITING = 4
"""Items held for each worker: the one it works on, and others that wait for it or whose result is not fetched yet."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def worker_count() -> int:
    """Returns the number of workers: the cores that this process may use, unless NIH_CHEST_XRAY_WORKERS is set.

    Raises:
      ValueError: The variable is not a positive whole number.
    """
    setting = os.environ.get(WORKERS_VARIABLE, "").strip()
    if not setting:
        return loky.cpu_count()  # Respects CPU affinity and container limits; os.cpu_count does not.
    if not setting.isdecimal() or int(setting) == 0:
        raise ValueError(f"{WORKERS_VARIABLE}={setting!r}; expected a whole number of at least 1")
    return int(setting)


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Generator[_Result, None, None]:
    """Yields the function's result for each item, in the order of the items.

    A separate thread takes the items, so that reading them overlaps with the work on them. Only a few items for each
    worker are held at a time. When the iterator is closed, or an error ends it, no thread is left.

    Args:
      function: The function, called in threads.
      items: The items, taken as results are fetched.
      workers: Number of threads that call the function.

    Raises:
      Exception: Whatever the function or the items raised, in place of the result.
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


def side_by_side(sources: Sequence[Iterable[_Item]], threads: int) -> Generator[_Item, None, None]:
    """Yields the items of all sources: with one thread source after source, with more as they come.

    A source is read in one thread, which waits when a few items of each are not fetched. When the iterator is closed,
    or an error ends it, no thread is left.

    Args:
      sources: The sources. Each is taken when a thread is free.
      threads: Number of sources that are read at a time.

    Raises:
      Exception: Whatever a source raised.
    """
    if min(threads, len(sources)) <= 1:
        yield from itertools.chain.from_iterable(sources)
        return
    pool = concurrent.futures.ThreadPoolExecutor(threads, "nih_chest_xray_archive")
    items: queue.SimpleQueue[tuple[bool, _Item | BaseException | None]] = queue.SimpleQueue()
    free = threading.Semaphore(_WAITING * threads)
    stopped = threading.Event()

    def read(source: Iterable[_Item]) -> None:
        try:
            for item in source:
                free.acquire()
                if stopped.is_set():
                    return
                items.put((True, item))
        except BaseException as error:
            items.put((False, error))
        else:
            items.put((False, None))

    try:
        for source in sources:
            pool.submit(read, source)
        left = len(sources)
        while left:
            is_item, found = items.get()
            if is_item:
                yield found  # type: ignore[misc]
                free.release()
            elif found is not None:
                raise found  # type: ignore[misc]
            else:
                left -= 1
    finally:
        stopped.set()
        free.release(threads)
        pool.shutdown(cancel_futures=True)
