"""Prints splits.tsv: what seed 0 gives for each named config on the NIH's official tables.

    python tests/pin_splits.py DIR | tee checksums/splits.tsv > nih_chest_xray/splits.tsv

It goes into both folders: the package reads its own copy, `checksums` is for people. DIR holds the NIH's tables. A
split that changes is a new version of the dataset: pinned lines are only ever added. The config nodule_expert is
printed where DIR holds the radiologists' files too; they are not part of the NIH's release.
"""

import sys

from etils import epath

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.planning.summary import split_digests
from nih_chest_xray.release import find, release
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.vocabulary import EXPERT_FILES

HEADER = "config\tsplit\texamples\tsha256_of_names"


def pinned_lines(config: NihChestXrayConfig, folder: epath.PathLike | None) -> list[str]:
    """Returns the lines of one config. A config with a phantom needs no folder."""
    if config.phantom_patients:
        found = Phantom(config.phantom_patients).as_release()
    else:
        found = find.find_release(epath.Path(folder), release.known_files(), allow_repacked=True)
    if config.split == "expert" and not {*EXPERT_FILES.values()} <= {*found.tables}:
        return []
    plan = make_plan(read_tables(found, config, release.known_files()), config)
    digests = split_digests(plan.manifest)
    return [f"{config.name}\t{subset}\t{number}\t{digest}" for subset, (number, digest) in digests.items()]


if __name__ == "__main__":
    print(HEADER)
    for named in NAMED_CONFIGS:
        for line in pinned_lines(named, sys.argv[1]):
            print(line)
