"""Command: what `nih-chest-xray evaluate` does, from names of files to text and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.catalog.new_folders import require_new_folder
from nih_chest_xray.errors import UsageError
from nih_chest_xray.evaluation import printed
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.evaluation.scores import read_scores
from nih_chest_xray.evaluation.shortcuts import follow_shortcuts, load_predict


def evaluate_files(
    scores: str,
    dataset: str,
    *,
    split: str,
    against: str,
    by: Sequence[str],
    compare: str | None,
    validation: Sequence[str],
    trained_on: str | None,
    shortcuts: str | None,
    bootstrap: int,
    seed: int,
    out: str | None,
) -> tuple[str, list[str]]:
    """Evaluates files of scores, and writes a report if it is to.

    Args:
      scores: The file of a network's scores.
      dataset: The folder of a built dataset.
      split: As `evaluate.run` takes it.
      against: As `evaluate.run` takes it.
      by: As `evaluate.run` takes it.
      compare: The file of another network's scores.
      validation: Files of scores of the validation subset: the network's, then the other one's.
      trained_on: The folder of the dataset that the network was trained on.
      shortcuts: The function to try shortcuts on, `MODULE:FUNCTION`.
      bootstrap: Number of resamples.
      seed: Seed of the resamples.
      out: The folder of the report; None writes none.

    Returns:
      The figures as text, and the caveats.

    Raises:
      UsageError, CatalogError: Nothing can be evaluated, or not as asked, or the report cannot be written.
    """
    built = open_dataset(dataset)
    if out is not None:
        from nih_chest_xray.evaluation import report  # Here, since its libraries are optional.

        require_new_folder(Path(out))
    predict = None if shortcuts is None else load_predict(shortcuts)
    names = _names(scores, compare)
    done = run(
        read_scores(scores),
        built,
        split=split,
        against=against,
        by=by,
        compare=None if compare is None else read_scores(compare),
        validation=[read_scores(file) for file in validation],
        trained_on=trained_on,
        bootstrap=bootstrap,
        seed=seed,
        names=names,
    )
    text, told = printed.as_text(done), list(done.caveats)
    tried: dict[str, pd.DataFrame] = {}
    if predict is not None:
        tried = follow_shortcuts(predict, built, split, done.images, done.truth, bootstrap, seed)
        for name, table in tried.items():
            text += (
                f"\n\nNegatives of {name}, changed in ways that say nothing of it\n{printed.shortcuts_as_text(table)}"
            )
            told += printed.followed(table)
    if out is not None:
        text += f"\n\nReport: {report.write_report(done, tried, Path(out))}"
    return text, told


def _names(scores: str, compare: str | None) -> tuple[str, str]:
    """Returns the names of the files without their endings; if they are the same, with their folders."""
    files = [Path(scores), Path(compare or "")]
    names = [file.name.partition(".")[0] for file in files]
    if compare is not None and names[0] == names[1]:
        names = [str(file) for file in files]
    if compare is not None and names[0] == names[1]:
        raise UsageError(f"{scores} is compared with itself; expected another network's scores")
    return names[0], names[1]
