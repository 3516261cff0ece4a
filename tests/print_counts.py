"""Prints the figures of README and guides on the NIH's tables: examples by config, subset and class; patients; boxes.

python tests/print_counts.py DIR

Of the augmented configs it prints how many training images of each class are augmented. If DIR has the radiologists'
files too, it prints the configs that need them, what their subsets share with nodule's, and how far radiologists agree
with the text-mined labels and with each other.
"""

import collections
import json
import sys

import pandas as pd
from etils import epath

from nih_chest_xray.config import NAMED_CONFIGS, NihChestXrayConfig
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.planning.summary import summarise
from nih_chest_xray.release import release
from nih_chest_xray.release.downloads import require_expert_files
from nih_chest_xray.release.tables import find_for_config, read_tables
from nih_chest_xray.tables import labels
from nih_chest_xray.tables.boxes import read_boxes
from nih_chest_xray.tables.tables import Tables
from nih_chest_xray.vocabulary import BOX_FILE, FINDINGS, NOT_SAID, SUBSETS

NODULES_ALONE = [
    NihChestXrayConfig(name="expert_all", split="expert_all"),
    NihChestXrayConfig(name="expert_all_rest", split="expert_all", negative="rest"),
]
"""The two ways to evaluate nodules alone on radiologists' labels; no named config does."""


def needs_experts(config: NihChestXrayConfig) -> bool:
    """Returns whether a config needs the radiologists' files."""
    return bool(config.definition.read_by_radiologists)


def plan_of(folder: epath.PathLike, config: NihChestXrayConfig) -> tuple[Tables, dict, pd.DataFrame]:
    """Returns a config's tables, summary and cohort."""
    known = release.known_files()
    found = find_for_config(epath.Path(folder), config, known)
    require_expert_files(found, config)
    tables = read_tables(found, config, known)
    plan = make_plan(tables, config)
    return tables, summarise(plan.manifest, config), plan.cohort


def of_readers(tables: Tables) -> dict[str, dict]:
    """Counts images by their readings, and those of all findings by readers who say Nodule and by finding."""
    said = tables.expert[tables.expert["nodule_votes"] != NOT_SAID]
    nodule, mass = (
        tuple(findings[FINDINGS.index(name)] == 1 for findings in said["expert_findings"])
        for name in ("Nodule", "Mass")
    )
    readings = collections.Counter(sum(votes) for votes in tables.expert["reader_votes"] if NOT_SAID not in votes)
    return {
        "images by readings of four findings": dict(sorted(readings.items())),
        "readers who say Nodule": dict(sorted(collections.Counter(said["nodule_votes"]).items())),
        "of these labelled Nodule": dict(sorted(collections.Counter(said["nodule_votes"][list(nodule)]).items())),
        "findings": {
            "images": len(said),
            "Nodule": sum(nodule),
            "Mass": sum(mass),
            "either": sum(map(max, nodule, mass)),
        },
    }


def print_summary(name: str, summary: dict) -> None:
    """Prints a table of a config's counts by class and subset."""
    print(f"\n| {name} | {' | '.join(SUBSETS)} |\n| --- | --- | --- | --- |")
    rows = {each: [summary["counts"][subset][each] for subset in SUBSETS] for each in summary["counts"]["train"]}
    rows |= {key: list(summary[key].values()) for key in ("examples", "patients")}
    for row, numbers in rows.items():
        print(f"| {row} | {' | '.join(f'{number:,}' for number in numbers)} |")
    if "agreement" in summary:
        print(f"radiologists' class, then the text-mined one: {json.dumps(summary['agreement'])}")


if __name__ == "__main__":
    known = release.known_files()
    found = find_for_config(epath.Path(sys.argv[1]), NAMED_CONFIGS[-1], known)
    cohorts = {}
    for config in (*NAMED_CONFIGS, *NODULES_ALONE):
        if config.phantom_patients or (needs_experts(config) and "test_labels.csv" not in found.tables):
            continue
        tables, summary, cohorts[config.name] = plan_of(sys.argv[1], config)
        print_summary(config.name, summary)
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
        for what, counted in (of_readers(tables) | tables.origin.get("radiologists", {})).items():
            print(f"{what}: {json.dumps(counted)}")
