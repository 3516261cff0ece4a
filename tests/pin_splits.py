"""Prints checksums/splits.tsv: what seed 0 gives for each named config on the NIH's official tables.

    python tests/pin_splits.py DIR > checksums/splits.tsv

DIR holds the NIH's tables. A split that changes is a new version of the dataset: pinned lines are only ever added.
"""

import sys

from etils import epath

from nih_chest_xray import labels, release
from nih_chest_xray.cohort import make_cohort
from nih_chest_xray.config import NAMED_CONFIGS, NihChestXrayConfig
from nih_chest_xray.manifest import make_manifest, split_digests
from nih_chest_xray.phantom import Phantom

HEADER = "config\tsplit\texamples\tsha256_of_names"


def pinned_lines(config: NihChestXrayConfig, folder: epath.PathLike | None) -> list[str]:
    """Returns the lines of one config. A config with a phantom needs no folder."""
    if config.phantom_patients:
        found = Phantom(config.phantom_patients).as_release()
    else:
        found = release.find_release(epath.Path(folder), known={}, allow_repacked=True)
    table = found.tables[found.label_file]
    official = release.read_official_lists(found) if config.split == "official" else None
    cohort = make_cohort(labels.read_labels(table.read(), table.place), config, official)
    digests = split_digests(make_manifest(cohort, config))
    return [f"{config.name}\t{subset}\t{number}\t{digest}" for subset, (number, digest) in digests.items()]


if __name__ == "__main__":
    print(HEADER)
    for named in NAMED_CONFIGS:
        print("\n".join(pinned_lines(named, sys.argv[1])))
