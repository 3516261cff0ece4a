"""Report: holds the outcome of a check, and prints a list of outcomes as text or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from nih_chest_xray.errors import line

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
_SHOWN = 5
"""Number of offenders that a report shows for each check."""


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
      name: A short name.
      status: 'ok', 'FAILED' or 'skipped'.
      seen: What was found, or why the check was skipped.
      offenders: What is wrong, one text for each record, row or file.
    """

    name: str
    status: str
    seen: str
    offenders: tuple[str, ...] = ()


def conclude(name: str, seen: str, offenders: Iterable[str]) -> Check:
    """Returns a check that failed if there are offenders."""
    offenders = tuple(map(line, offenders))  # Each may quote the content of a record.
    return Check(name, FAILED if offenders else OK, seen, offenders)


def as_text(done: list[Check]) -> str:
    """Returns the outcomes as text: a line for each check, and below it its first offenders."""
    lines = []
    for check in done:
        lines.append(f"{check.status:<8} {check.name:<13} {line(check.seen)}")
        lines += [f"{'':<9}{offender}" for offender in check.offenders[:_SHOWN]]
        if len(check.offenders) > _SHOWN:
            lines.append(f"{'':<9}… {len(check.offenders):,} in all")
    counts = {status: sum(check.status == status for check in done) for status in (OK, FAILED, SKIPPED)}
    return "\n".join([*lines, ", ".join(f"{number} {status}" for status, number in counts.items())])


def as_json(done: list[Check]) -> str:
    """Returns the outcomes as one JSON document, with all offenders."""
    return json.dumps(_as_dict(done), indent=2)


def as_json_of_several(done: Mapping[str, list[Check]]) -> str:
    """Returns the outcomes for several datasets, by their folders, as one JSON document."""
    datasets = [{"dataset": folder, **_as_dict(checks)} for folder, checks in done.items()]
    return json.dumps({"ok": not any(map(failed, done.values())), "datasets": datasets}, indent=2)


def _as_dict(done: list[Check]) -> dict[str, Any]:
    return {"ok": not failed(done), "checks": [dataclasses.asdict(check) for check in done]}


def failed(done: list[Check]) -> bool:
    """Returns whether a check failed."""
    return any(check.status == FAILED for check in done)
