"""Same records: reads two shards of the same examples in different formats, and says where they differ."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from etils import epath

from nih_chest_xray.errors import ConversionError
from nih_chest_xray.verification.shards import read_shard


@dataclasses.dataclass(frozen=True)
class Pair:
    """A shard in two formats.

    Attributes:
      ours: The path of the shard in the dataset's first format.
      theirs: The path of the same shard in the other format.
      our_format: The first format, as TFDS calls it.
      their_format: The other format.
      count: Number of records that dataset_info.json gives.
    """

    ours: epath.Path
    theirs: epath.Path
    our_format: str
    their_format: str
    count: int

    def with_theirs(self, path: epath.Path) -> Pair:
        """Returns the pair with the other shard in another place."""
        return dataclasses.replace(self, theirs=path)


def records_of(pair: Pair) -> Iterator[bytes]:
    """Yields the records of the first format.

    Raises:
      ConversionError: A record is broken, or there are more or fewer than dataset_info.json says.
    """
    number = 0
    for number, record in enumerate(read_shard(pair.ours, pair.our_format), start=1):
        if isinstance(record, str):
            raise ConversionError(
                f"{pair.ours}, record {number - 1}: {record}. `nih-chest-xray verify` names all that are broken"
            )
        yield record
    if number != pair.count:
        raise ConversionError(
            f"{pair.ours} has {number:,} records; dataset_info.json says {pair.count:,}. Copy or build it again"
        )


def difference(pair: Pair, on_record: Callable[[], object] = lambda: None) -> str | None:
    """Returns how the other shard differs from the first format's; None if it has the same bytes in the same order.

    Args:
      pair: The shards.
      on_record: Called for each record.

    Raises:
      ConversionError: The shard of the first format is broken.
    """
    theirs = read_shard(pair.theirs, pair.their_format)
    for number, (our_record, their_record) in enumerate(itertools.zip_longest(records_of(pair), theirs)):
        on_record()
        if our_record is None:
            return f"{pair.theirs.name} has more than the {number:,} records of {pair.ours.name}"
        if their_record is None:
            return f"{pair.theirs.name} ends after {number:,} of {pair.count:,} records"
        if isinstance(their_record, str):
            return f"{pair.theirs.name}, record {number}: {their_record}"
        if our_record != their_record:
            return f"{pair.theirs.name}, record {number}: not byte for byte that of {pair.ours.name}"
    return None
