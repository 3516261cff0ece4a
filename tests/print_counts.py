"""Prints the README's tables of examples by config, subset and class on the NIH's tables.

python tests/print_counts.py DIR
"""

import sys

from etils import epath

from nih_chest_xray import release
from nih_chest_xray.cohort import SUBSETS
from nih_chest_xray.config import NAMED_CONFIGS
from nih_chest_xray.manifest import make_manifest, summarise
from nih_chest_xray.plan import make_plan

if __name__ == "__main__":
    known = release.known_files()
    found = release.find_release(epath.Path(sys.argv[1]), known, allow_repacked=True)
    for config in NAMED_CONFIGS:
        if config.phantom_patients or config.split == "expert":
            continue
        plan = make_plan(found, config, known)
        summary = summarise(make_manifest(plan.cohort, config, plan.boxes), config)
        print(f"\n| {config.name} | {' | '.join(SUBSETS)} |\n| --- | --- | --- | --- |")
        rows = {name: [summary["counts"][subset][name] for subset in SUBSETS] for name in summary["counts"]["train"]}
        rows |= {key: list(summary[key].values()) for key in ("examples", "patients")}
        for name, numbers in rows.items():
            print(f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |")
