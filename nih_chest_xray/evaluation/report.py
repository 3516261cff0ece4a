"""Report: writes an evaluation as a page that stands alone, as metrics.json, and as tables for a paper."""

from __future__ import annotations

import base64
import dataclasses
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nih_chest_xray.errors import CatalogError, ImageError, UsageError, one_line

try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
except ImportError as error:
    raise CatalogError(
        f"{error.name} is not installed; get what a report needs with `pip install 'nih_chest_xray[catalog]'`"
    ) from error

from nih_chest_xray.catalog.charts import Table
from nih_chest_xray.catalog.datasets import damaged
from nih_chest_xray.catalog.gallery import SIDE, Picture, make_picture
from nih_chest_xray.catalog.new_folders import require_new_folder
from nih_chest_xray.catalog.page import render
from nih_chest_xray.catalog.reports import METRICS
from nih_chest_xray.evaluation import exports, printed
from nih_chest_xray.evaluation.caveats import is_text_mined
from nih_chest_xray.evaluation.evaluate import Evaluation
from nih_chest_xray.evaluation.examples import find_examples
from nih_chest_xray.evaluation.plots import draw_plots
from nih_chest_xray.evaluation.sampled import ALL
from nih_chest_xray.vocabulary import NO_FINDING

PAGE, MARKDOWN, LATEX = "index.html", "figures.md", "figures.tex"
_WORST = 4
"""Pictures of each kind of error."""
_FIRST_CLASS = "Nodule"
"""The class whose errors are shown, if there are several."""


@dataclasses.dataclass(frozen=True)
class Errors:
    """The images that a network is most wrong about.

    Attributes:
      title: What kind of error it is.
      pictures: A picture of each, the worst first, with its score in the details.
    """

    title: str
    pictures: tuple[Picture, ...]


def write_report(done: Evaluation, shortcuts: Mapping[str, pd.DataFrame], out: Path) -> Path:
    """Writes a report: all of it is made before the first file is written.

    Args:
      done: The evaluation.
      shortcuts: What changed images score, by class.
      out: A new or empty folder.

    Returns:
      The path of the page.

    Raises:
      UsageError: The folder holds something, or belongs to a dataset.
      CatalogError: An image of the dataset cannot be read.
      OSError: It cannot be written.
    """
    require_new_folder(out)
    files = {
        MARKDOWN: exports.as_markdown(done),
        LATEX: exports.as_latex(done),
        PAGE: _page(done, shortcuts),
        METRICS: exports.as_json(done, shortcuts),  # The last: what has it is whole.
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        try:
            with (out / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise UsageError(f"{out} is written by another process; name another --out") from None
    return out / PAGE


def _page(done: Evaluation, shortcuts: Mapping[str, pd.DataFrame]) -> str:
    figures = done.figures
    plain, differences = (figures[figures["is_difference"] == value] for value in (False, True))
    return render(
        "report.html.jinja",
        done=done,
        built=done.built,
        facts=_facts(done),
        overview=_table(plain[plain["group"] == ALL], "Figures with their 95 % intervals"),
        groups=_table(plain[plain["group"] != ALL], "Figures of each group"),
        networks=_table(differences[differences["group"] == ALL], "Differences of the networks on the same images"),
        between_groups=_table(
            differences[(differences["group"] != ALL) & differences["network"].isin(done.scores)],
            "Differences of each group from the largest",
        ),
        every=Table("All figures", printed.HEADER, tuple(tuple(row) for row in printed.rows_of(figures))),
        shortcuts=[_shortcuts(name, table) for name, table in shortcuts.items()],
        told=[*done.caveats, *(text for table in shortcuts.values() for text in printed.followed(table))],
        plots=draw_plots(done),
        errors=_errors(done),
        side=SIDE,
    )


def _facts(done: Evaluation) -> list[tuple[str, str]]:
    mined = is_text_mined(done.built, done.subset, done.against)
    origin = "drawn" if done.built.synthetic else "text-mined" if mined else "by radiologists"
    return [
        ("Images", f"{len(done.images):,}"),
        ("Patients", f"{done.images['patient_id'].nunique():,}"),
        ("Subset", done.subset),
        ("Truth", f"{done.against.replace('_', ' ')}, {origin}"),
        ("Network", ", ".join(done.scores)),
        ("Intervals", f"95 %, {done.bootstrap:,} resamples of patients, seed {done.seed}"),
    ]


def _table(figures: pd.DataFrame, caption: str) -> Table | None:
    """Returns a table with a row for each network, finding and group, and a column for each metric."""
    if figures.empty:
        return None
    header, *cells = printed.side_by_side(figures)
    # The counts with the finding: on a phone the first two columns are all that is seen without scrolling.
    rows = [
        (f"{finding}: {positives} of {images}", *estimates, patients)
        for finding, images, patients, positives, *estimates in cells
    ]
    return Table(caption, ("Finding: positive of all images", *header[4:], "Patients"), tuple(rows))


def _shortcuts(name: str, table: pd.DataFrame) -> Table:
    header, *rows = printed.shortcut_rows(table)
    return Table(
        f"Negatives of {name}, as they are and changed in ways that say nothing of it",
        tuple(header),
        tuple(map(tuple, rows)),
    )


def _errors(done: Evaluation) -> list[Errors]:
    """Returns pictures of the negatives with the highest scores, and of the positives with the lowest."""
    name = _FIRST_CLASS if _FIRST_CLASS in done.truth else str(done.truth.columns[0])
    scores = next(iter(done.scores.values()))[name]
    truth = done.truth[name]
    wrong = {
        f"Negatives of {name} with the highest scores": scores[truth == 0].sort_values(ascending=False),
        f"Positives of {name} with the lowest scores": scores[truth == 1].sort_values(),
    }
    wrong = {title: worst.head(_WORST) for title, worst in wrong.items()}
    pictures = _pictures(done, {image: score for worst in wrong.values() for image, score in worst.items()})
    return [Errors(title, tuple(pictures[image] for image in worst.index)) for title, worst in wrong.items()]


def _pictures(done: Evaluation, scores: Mapping[str, float]) -> dict[str, Picture]:
    pictures = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        (folder / "images").mkdir()
        for name, example in find_examples(done.built, done.subset, list(scores)):
            row = done.images.loc[name]
            findings = () if row["findings"] == NO_FINDING else tuple(row["findings"].split("|"))
            text = {"image_name": name, "findings": findings, "patient_age": int(row["patient_age"])}
            facts = types.SimpleNamespace(**{**row.to_dict(), **text})
            try:
                picture = make_picture(done.built, facts, example, folder)
            except (ImageError, ValueError) as error:
                raise damaged(done.built.path, f"the image of {name} ({one_line(error)})") from error
            content = base64.b64encode((folder / picture.preview).read_bytes()).decode()
            details = f"score {scores[name]:.3f}, {picture.details}"
            pictures[name] = dataclasses.replace(picture, preview=f"data:image/jpeg;base64,{content}", details=details)
    return pictures
