"""Runs ways in processes of their own, in turn, and prints one table of medians, ratios and spread."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent


def run(script: str, *arguments: object, workers: int | None = None) -> dict[str, float]:
    """Runs a script of this folder and returns the JSON of its last line, which it prints to standard output."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if workers:
        environment["NIH_CHEST_XRAY_WORKERS"] = str(workers)
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def build(way: str, release: Path, warm_up: Path, workers: int | None = None) -> dict[str, float]:
    """Builds a release by one of the ways in ways.py, into a folder that is removed."""
    with tempfile.TemporaryDirectory() as data:
        return run("ways.py", way, release, warm_up, data, workers=workers)


def in_turn(ways: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Runs each way once a round."""
    results = {name: [] for name in ways}
    for number in range(1, rounds + 1):
        for name, way in ways.items():
            results[name].append(way())
            print(f"round {number} of {rounds}: {name}", file=sys.stderr, flush=True)
    return results


def table(results: dict[str, list[dict[str, float]]], against: dict[str, str], columns: dict[str, Callable]) -> str:
    """Returns a table: images/s, how many times those of other ways in the same round, and more columns.

    Args:
      results: What `in_turn` returned; each with `images` and `seconds`.
      against: Heading of a ratio, and the way that it compares with.
      columns: Heading of a column, and what makes a string of a way's results.
    """
    speeds = {name: [each["images"] / each["seconds"] for each in rounds] for name, rounds in results.items()}
    rows = {}
    for name, rounds in results.items():
        rows[name] = {"images/s": _spread(speeds[name], ".0f")}
        for heading, other in against.items():
            ratios = [ours / theirs for ours, theirs in zip(speeds[name], speeds[other], strict=True)]
            rows[name][heading] = _spread(ratios, ".2f")
        rows[name] |= {heading: make(rounds) for heading, make in columns.items()}
    return pd.DataFrame(rows).T.to_string()


def median(key: str, scale: float, form: str = ".0f") -> Callable[[list[dict[str, float]]], str]:
    """Returns what makes a column of medians."""
    return lambda rounds: format(statistics.median(each[key] for each in rounds) / scale, form)


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"
