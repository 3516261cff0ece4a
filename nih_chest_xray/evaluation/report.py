"""Report: writes an evaluation as a page that stands alone, as metrics.json, and as tables for a paper."""

from __future__ import annotations

import base64
import dataclasses
import tempfile
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.errors import CatalogError, UsageError

try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
except ImportError as error:
    raise CatalogError(
        f"{error.name} is not installed; get what a report needs with `pip install 'nih_chest_xray[catalog]'`"
    ) from error

from nih_chest_xray.catalog.charts import Table
from nih_chest_xray.catalog.gallery import SIDE, Picture, make_picture
from nih_chest_xray.catalog.page import render
from nih_chest_xray.evaluation import printed
from nih_chest_xray.evaluation.evaluate import Evaluation
from nih_chest_xray.evaluation.plots import draw_plots
from nih_chest_xray.evaluation.sampled import ALL, MEAN, PATIENT_BOOTSTRAP
from nih_chest_xray.vocabulary import NO_FINDING

PAGE, METRICS, MARKDOWN, LATEX = "index.html", "metrics.json", "figures.md", "figures.tex"
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


def require_new_folder(out: Path) -> None:
    """Raises an error if a folder for a report is not a new or empty one.

    Raises:
      UsageError: It holds something, or is no folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists; name another --out, so that nothing is replaced")


def write_report(done: Evaluation, shortcuts: Mapping[str, pd.DataFrame], out: Path) -> Path:
    """Writes a report: all of it is made before the first file is written.

    Args:
      done: The evaluation.
      shortcuts: What changed images score, by class.
      out: A new or empty folder.

    Returns:
      The path of the page.

    Raises:
      UsageError: The folder holds something.
      OSError: It cannot be written.
    """
    require_new_folder(out)
    files = {
        MARKDOWN: printed.as_markdown(done),
        LATEX: printed.as_latex(done),
        PAGE: _page(done, shortcuts),
        METRICS: printed.as_json(done, shortcuts),  # The last: what has it is whole.
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    return out / PAGE


def _page(done: Evaluation, shortcuts: Mapping[str, pd.DataFrame]) -> str:
    figures = done.figures
    plain = figures[(figures["method"] == PATIENT_BOOTSTRAP) & figures["holds"].isna()]
    return render(
        "report.html.jinja",
        done=done,
        built=done.built,
        facts=_facts(done),
        overview=_overview(plain[plain["group"] == ALL], "Figures with their 95 % intervals"),
        groups=_overview(plain[plain["group"] != ALL], "Figures of each group"),
        differences=_differences(figures[figures["holds"].notna()]),
        every=Table("All figures", printed.HEADER, tuple(tuple(row) for row in printed.rows_of(figures))),
        shortcuts=[_shortcuts(name, table) for name, table in shortcuts.items()],
        told=[*done.caveats, *(text for table in shortcuts.values() for text in printed.followed(table))],
        plots=draw_plots(done),
        errors=_errors(done),
        side=SIDE,
    )


def _facts(done: Evaluation) -> list[tuple[str, str]]:
    return [
        ("Images", f"{len(done.images):,}"),
        ("Patients", f"{done.images['patient_id'].nunique():,}"),
        ("Subset", done.subset),
        ("Truth", done.against),
        ("Network", ", ".join(done.scores)),
        ("Intervals", f"95 %, {done.bootstrap:,} resamples of patients, seed {done.seed}"),
    ]


def _overview(figures: pd.DataFrame, caption: str) -> Table | None:
    """Returns a table with a row for each network, finding and group, and a column for each metric."""
    if figures.empty:
        return None
    metrics = list(dict.fromkeys(figures["metric"]))
    several = figures["network"].nunique() > 1
    rows = []
    for (network, finding, by, group), of in figures.groupby(["network", "finding", "by", "group"], sort=False):
        first = of.iloc[0]
        of_metric = {row.metric: printed.with_interval(row) for row in of.itertuples(index=False)}
        name = "mean of the findings" if finding == MEAN else finding
        name = name if group == ALL else f"{name}, {by} {group}"
        n = f"{first.images:,}", f"{first.patients:,}", f"{first.positives:,}"
        rows.append(
            (f"{network}: {name}" if several else name, *n, *(of_metric.get(metric, "–") for metric in metrics))
        )
    header = ("Finding", "Images", "Patients", "Positive", *map(printed.title, metrics))
    return Table(caption, header, tuple(rows))


def _differences(figures: pd.DataFrame) -> Table | None:
    if figures.empty:
        return None
    rows = tuple(tuple(row) for row in printed.rows_of(figures))
    return Table("Differences, with 95 % intervals of the same resamples", printed.HEADER, rows)


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
        for name, example in _examples(done, set(scores)):
            row = done.images.loc[name]
            findings = () if row["findings"] == NO_FINDING else tuple(row["findings"].split("|"))
            text = {"image_name": name, "findings": findings, "patient_age": int(row["patient_age"])}
            facts = types.SimpleNamespace(**{**row.to_dict(), **text})
            picture = make_picture(done.built, facts, example, folder)
            content = base64.b64encode((folder / picture.file).read_bytes()).decode()
            details = f"score {scores[name]:.3f}, {picture.details}"
            pictures[name] = dataclasses.replace(picture, file=f"data:image/jpeg;base64,{content}", details=details)
    return pictures


def _examples(done: Evaluation, names: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    raw = {"image": tfds.decode.SkipDecoding()}
    builder = done.built.builder
    if done.built.file_format == "array_record":
        examples = builder.as_data_source(done.subset, decoders=raw)
    else:
        examples = tfds.as_numpy(builder.as_dataset(split=done.subset, decoders=raw))
    for example in examples:
        if (name := example["image_name"].decode()) in names:
            yield name, example
