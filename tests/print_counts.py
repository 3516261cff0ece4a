"""Prints the figures of README and guides on the NIH's tables: examples by config, subset and class; patients; boxes.

python tests/print_counts.py DIR

Of the augmented configs it prints how many training images of each class are augmented. If DIR has the radiologists'
files too, it prints nodule_expert: its subsets, and what they share with nodule's.
"""

import sys

from etils import epath

from nih_chest_xray.config import NAMED_CONFIGS
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.planning.summary import summarise
from nih_chest_xray.release import find, release
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.tables import labels
from nih_chest_xray.tables.boxes import read_boxes
from nih_chest_xray.vocabulary import BOX_FILE, SUBSETS

if __name__ == "__main__":
    known = release.known_files()
    found = find.find_release(epath.Path(sys.argv[1]), known, allow_repacked=True)
    cohorts = {}
    for config in NAMED_CONFIGS:
        if config.phantom_patients or (config.split == "expert" and "test_labels.csv" not in found.tables):
            continue
        plan = make_plan(read_tables(found, config, known), config)
        cohorts[config.name] = plan.cohort
        summary = summarise(plan.manifest, config)
        print(f"\n| {config.name} | {' | '.join(SUBSETS)} |\n| --- | --- | --- | --- |")
        rows = {name: [summary["counts"][subset][name] for subset in SUBSETS] for name in summary["counts"]["train"]}
        rows |= {key: list(summary[key].values()) for key in ("examples", "patients")}
        for name, numbers in rows.items():
            print(f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |")
        if config.augmented_copies:
            for name, drawn in summary["augmentations"].items():
                total = summary["counts"]["train"][name]
                shares = ", ".join(f"{how} {number:,} ({number / total:.1%})" for how, number in drawn.items())
                print(f"augmentation in training, {name}: {shares}")

    table, box_table = found.tables[found.label_file], found.tables[BOX_FILE]
    images = labels.read_labels(table.read(), table.place)
    with_nodule = set(images.loc[images["findings"].map(lambda findings: "Nodule" in findings), "patient_id"])
    with_none = set(images.loc[images["findings"].str.len() == 0, "patient_id"])
    both = with_nodule & with_none
    print(f"\n{len(with_nodule):,} patients have a nodule image, {len(both):,} of them a No Finding image too")
    boxes = read_boxes(box_table.read(), box_table.place)
    findings = [box.finding for marked in boxes.values() for box in marked]
    print(f"{len(findings)} boxes on {len(boxes)} images, {findings.count('Nodule')} of them nodules")

    if (expert := cohorts.get("nodule_expert")) is not None:
        nodule = cohorts["nodule"]
        trained = set(nodule.loc[nodule["subset"] == "train", "patient_id"])
        for subset, rows in expert.groupby("subset"):
            negatives = rows[rows["label"] == "No nodule or mass"]["findings"]
            others = negatives.map(lambda found: len(found) > 0 and not {"Nodule", "Mass"} & {*found}).mean()
            patients = set(rows["patient_id"])
            print(
                f"{subset}: {len(rows):,} images of {len(patients):,} patients, {len(patients & trained):,} of them in"
                f" training of nodule; AP {(rows['view_position'] == 'AP').mean():.0%}; negatives with another"
                f" finding {others:.0%}"
            )
