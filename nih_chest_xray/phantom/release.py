"""Phantom: a small synthetic release in the NIH's layouts, drawn by code from a seed.

The `sample` config, the tests and the benchmarks use it. It shows no real patient. To write one to disk:

    python -m nih_chest_xray.phantom DIR --patients 60 --layout folder
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import gzip
import io
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Set

import cv2
import numpy as np
from etils import epath

from nih_chest_xray.phantom.drawing import Nodule, draw_anatomy, draw_nodules, draw_radiograph, nodule_box
from nih_chest_xray.release.release import Release, TableFile
from nih_chest_xray.release.sources import Source, StoredImage
from nih_chest_xray.tables import boxes
from nih_chest_xray.tables.labels import OFFICIAL_HEADER
from nih_chest_xray.vocabulary import (
    ALL_FINDINGS_FILE,
    BOX_FILE,
    EXPERT_FILES,
    EXPERT_FINDINGS,
    FINDINGS,
    LABEL_FILES,
    OFFICIAL_LISTS,
    READER_ANSWERS,
    READER_FILES,
    SEXES,
    VIEWS,
    label_string,
)

LAYOUTS = ("folder", "archives", "kaggle", "zip")

_SIZE = 1024
_NODULE_SHARE = 0.45
"""Share of patients who have a nodule in some of their images: far more than in the NIH's release, so that a few dozen
patients are enough for three subsets."""
_OTHER_SHARE = 0.3
_RGBA_SHARE = 0.02
_TEST_SHARE = 0.2
"""Share of patients in the official test list; radiologists read all images of these, and of as many others."""
_DETECTORS = ((2992, 2991, 0.143), (2500, 2048, 0.168), (2048, 2500, 0.168), (2542, 2946, 0.139))
"""Width and height in pixels and mm per pixel of detectors before the resize to 1024, as in the NIH's table."""
_IMAGES_PER_ARCHIVE = 100
_EXPERT_HEADER = f"{OFFICIAL_HEADER},{','.join(EXPERT_FINDINGS)},Set Id"
_FOUR_READERS_HEADER = f"Patient ID,Image ID,Reader ID,{','.join(EXPERT_FINDINGS[:-1])},Nodule/mass,Set ID"
_ALL_FINDINGS_HEADER = f"Image ID,Patient ID,Abnormal,{','.join(FINDINGS).replace('_', ' ')},Other"
_ALL_READERS_HEADER = _ALL_FINDINGS_HEADER.replace("Patient ID", "Patient ID,Reader ID")
_READERS = {"four": 3, "all": 5}
_SET_IDS = {"validation": "val", "test": "test"}
_MISTAKES = 0.15
"""Share of the answers in which a synthetic reader does not say what is drawn."""


@dataclasses.dataclass(frozen=True)
class Study:
    """One radiograph of a synthetic patient: a row of the label file and what its picture shows."""

    name: str
    patient: int
    follow_up: int
    age: int
    sex: str
    view: str
    detector: tuple[int, int, float]
    findings: tuple[str, ...]
    nodules: tuple[Nodule, ...]
    anatomy_seed: int
    anatomy_age: int
    image_seed: int
    rgba: bool

    @property
    def spacing(self) -> tuple[float, float]:
        """Width and height in mm of a pixel of the 1024 x 1024 image."""
        width, height, spacing = self.detector
        return width * spacing / _SIZE, height * spacing / _SIZE

    def png(self) -> bytes:
        """Draws the radiograph and encodes it."""
        anatomy = draw_anatomy(self.anatomy_seed, self.sex, self.anatomy_age)
        haze = any(finding != "Nodule" for finding in self.findings)
        pixels = draw_radiograph(anatomy, self.view, self.spacing, self.nodules, self.image_seed, haze)
        if self.rgba:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGRA)
        return cv2.imencode(".png", pixels)[1].tobytes()


class Phantom(Source):
    """A synthetic release: its tables are made at once, each image when it is read."""

    place = "the phantom"

    def __init__(self, patients: int, seed: int = 0) -> None:
        """Draws the patients.

        Args:
          patients: How many; each has one to eight images.
          seed: Any non-negative integer.
        """
        self.studies = [study for patient in range(1, patients + 1) for study in _draw_patient(patient, seed)]
        self.names = frozenset(study.name for study in self.studies)

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order of names. It is drawn when it is read."""
        for study in self.studies:
            if study.name in wanted:
                yield StoredImage(study.name, self.place, study.png)

    def part(self, names: Collection[str]) -> Phantom:
        """Returns a phantom with only these images."""
        part = copy.copy(self)
        part.studies = [study for study in self.studies if study.name in names]
        part.names = frozenset(names)
        return part

    def tables(self) -> dict[str, bytes]:
        """Returns all tables by file name, in the format of their authors.

        These are the label file, the boxes, the official lists and the radiologists' labels. The label file sometimes
        calls a haze a mass; the radiologists never do. Of the images in the test list those that are PA have the
        radiologists' labels of all findings too: what most of five readers say.
        """
        rows = [OFFICIAL_HEADER]
        box_rows = [boxes.OFFICIAL_HEADER]
        lists: dict[str, list[str]] = {subset: [] for subset in OFFICIAL_LISTS}
        read = {subset: [_EXPERT_HEADER] for subset in EXPERT_FILES}
        more = {
            READER_FILES["four"]: [_FOUR_READERS_HEADER],
            ALL_FINDINGS_FILE: [_ALL_FINDINGS_HEADER],
            READER_FILES["all"]: [_ALL_READERS_HEADER],
        }
        last_test_patient = _TEST_SHARE * self.studies[-1].patient
        for study in self.studies:
            width, height, spacing = study.detector
            person = f"{study.follow_up},{study.patient},{study.age},{study.sex},{study.view}"
            row = f"{study.name},{label_string(study.findings)},{person},{width},{height},{spacing},{spacing}"
            rows.append(row)
            for nodule in study.nodules:
                box = ",".join(f"{value:.6f}" for value in nodule_box(nodule, study.spacing))
                box_rows.append(f"{study.name},Nodule,{box},,,")
            lists["test" if study.patient <= last_test_patient else "train_val"].append(study.name)
            if study.patient <= 2 * last_test_patient:
                subset = "test" if study.patient <= last_test_patient else "validation"
                read[subset].append(f"{row},NO,NO,NO,{'YES' if study.nodules else 'NO'},{subset}")
                more[READER_FILES["four"]] += _four_readings(study, subset)
            if study.patient <= last_test_patient and study.view == "PA":
                said, readings = _all_findings(study)
                more[ALL_FINDINGS_FILE].append(said)
                more[READER_FILES["all"]] += readings
        tables = {LABEL_FILES[0]: "\n".join(rows) + "\n", BOX_FILE: "\n".join(box_rows) + "\n"}
        tables |= {EXPERT_FILES[subset]: "\n".join(lines) + "\n" for subset, lines in read.items()}
        tables |= {name: "\n".join(lines) + "\n" for name, lines in more.items()}
        tables |= {OFFICIAL_LISTS[subset]: "\n".join(names) for subset, names in lists.items()}
        return {name: text.encode() for name, text in tables.items()}

    def as_release(self) -> Release:
        """Returns the phantom as a release without files on disk."""
        tables = {
            name: TableFile(f"{self.place}'s {name}", functools.partial(bytes, content))
            for name, content in self.tables().items()
        }
        return Release(place=self.place, tables=tables, sources=(self,))

    def write(self, folder: epath.PathLike, layout: str = "folder") -> None:
        """Writes tables and images into a folder.

        Args:
          folder: The target folder; created if it does not exist.
          layout: 'folder' (images/), 'archives' (images_001.tar.gz, …), 'kaggle' (images_001/images/, …) or 'zip'
            (archive.zip, tables in it).

        Raises:
          ValueError: The layout is unknown.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"layout {layout!r}; expected one of {', '.join(LAYOUTS)}")
        folder = epath.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        images = ((image.name, image.read()) for image in self.images(self.names))
        if layout == "zip":
            buffer = io.BytesIO()  # A zip is written out of order, which a remote file does not allow.
            with zipfile.ZipFile(buffer, "w") as archive:
                for name, content in self.tables().items():
                    archive.writestr(name, content)
                for number, (name, content) in enumerate(images):
                    part = number // _IMAGES_PER_ARCHIVE + 1
                    archive.writestr(f"images_{part:03d}/images/{name}", content)
            (folder / "archive.zip").write_bytes(buffer.getvalue())
            return
        for name, content in self.tables().items():
            (folder / name).write_bytes(content)
        if layout == "archives":
            members = list(images)
            for first in range(0, len(members), _IMAGES_PER_ARCHIVE):
                path = folder / f"images_{first // _IMAGES_PER_ARCHIVE + 1:03d}.tar.gz"
                path.write_bytes(tar_gz(members[first : first + _IMAGES_PER_ARCHIVE]))
            return
        for number, (name, content) in enumerate(images):
            above = f"images_{number // _IMAGES_PER_ARCHIVE + 1:03d}/" if layout == "kaggle" else ""
            path = folder / f"{above}images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def tar_gz(images: list[tuple[str, bytes]]) -> bytes:
    """Returns a tar.gz of `images/<name>` members, the same bytes for the same images."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in images:
            member = tarfile.TarInfo(f"images/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _four_readings(study: Study, subset: str) -> list[str]:
    """Returns the rows of an image's readers of four findings; some hedge."""
    rng = np.random.RandomState([1, study.image_seed])
    rows = []
    for reader in range(1, _READERS["four"] + 1):
        truth = ["NO"] * (len(EXPERT_FINDINGS) - 1) + ["YES" if study.nodules else "NO"]
        answers = [
            READER_ANSWERS[rng.randint(len(READER_ANSWERS))] if rng.random_sample() < _MISTAKES else said
            for said in truth
        ]
        rows.append(f"{study.patient},{study.name},{reader},{','.join(answers)},{_SET_IDS[subset]}")
    return rows


def _all_findings(study: Study) -> tuple[str, list[str]]:
    """Returns an image's row in the file of all findings, and the rows of its readers."""
    rng = np.random.RandomState([2, study.image_seed])
    drawn = np.array([finding in study.findings for finding in FINDINGS])
    said = drawn ^ (rng.random_sample((_READERS["all"], len(FINDINGS))) < _MISTAKES)
    most = said.sum(axis=0) * 2 > _READERS["all"]

    def cells(answers: np.ndarray) -> str:
        return ",".join("YES" if yes else "NO" for yes in (*answers, False))

    readings = [
        f"{study.name},{study.patient},{reader},{int(answers.any())},{cells(answers)}"
        for reader, answers in enumerate(said, start=1)
    ]
    return f"{study.name},{study.patient},{'YES' if most.any() else 'NO'},{cells(most)}", readings


def _draw_patient(patient: int, seed: int) -> list[Study]:
    # Each patient has a generator of its own, so the first patients are the same in every phantom with the same seed.
    # NumPy has frozen the numbers of RandomState, but not those of newer generators.
    rng = np.random.RandomState([seed, patient])
    sex, age = SEXES[rng.randint(2)], int(rng.randint(18, 90))
    detector = _DETECTORS[rng.randint(len(_DETECTORS))]
    count = min(8, 1 + int(rng.geometric(0.4)))
    anatomy_seed, nodule_seed = rng.randint(2**31 - 1, size=2).tolist()
    has_nodule, has_other = rng.random_sample(2) < (_NODULE_SHARE, _OTHER_SHARE)
    first_with_nodule = int(rng.randint(count)) if has_nodule else count
    nodule_count = int(rng.randint(1, 4))
    others = [finding for finding in FINDINGS if finding != "Nodule"]
    studies = []
    for follow_up in range(count):
        view = VIEWS[int(rng.random_sample() < 0.4)]
        findings = set(rng.choice(others, 1 + rng.randint(2))) if has_other and rng.random_sample() < 0.6 else set()
        study = Study(
            name=f"{patient:08d}_{follow_up:03d}.png",
            patient=patient,
            follow_up=follow_up,
            age=age + follow_up // 2,
            sex=sex,
            view=view,
            detector=detector,
            findings=tuple(sorted(map(str, findings))),
            nodules=(),
            anatomy_seed=anatomy_seed,
            anatomy_age=age,
            image_seed=int(rng.randint(2**31 - 1)),
            rgba=bool(rng.random_sample() < _RGBA_SHARE),
        )
        if follow_up >= first_with_nodule:
            anatomy = draw_anatomy(anatomy_seed, sex, age)
            # The same seed in each image, so that a patient's nodules stay where they were.
            nodules = draw_nodules(anatomy, view, study.spacing, nodule_seed, nodule_count)
            study = dataclasses.replace(study, findings=tuple(sorted({*study.findings, "Nodule"})), nodules=nodules)
        studies.append(study)
    return studies
