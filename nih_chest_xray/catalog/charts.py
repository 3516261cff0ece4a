"""Charts: counts as tables whose cells have bars, each a link to the examples that it counts."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Callable

import pandas as pd

from nih_chest_xray.catalog import statistics
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.vocabulary import SEX_IN_WORDS, images_of

_ALL = "all"


@dataclasses.dataclass(frozen=True)
class Bar:
    """A number with a bar.

    Attributes:
      number: The number, in words.
      share: Its share of something, in words; empty if there is none.
      length: The length of the bar, in per cent of the longest.
      link: The page's hash that has its browser show the examples that are counted; empty if there are none.
    """

    number: str
    share: str
    length: float
    link: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of numbers. The first cell of each row is the row's heading."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | Bar, ...], ...]


@dataclasses.dataclass(frozen=True)
class Charts:
    """The charts of a page.

    Attributes:
      splits: Examples of each class in each subset, and below them all examples, augmented ones and patients.
      findings: Images with each of the 14 findings in each subset. None if these are the classes.
      pairs: Images with both of two findings.
      ages: Images by age and sex.
      note: What is not counted in the last three.
    """

    splits: Table
    findings: Table | None
    pairs: Table
    ages: Table
    note: str


def make_charts(built: Built, examples: pd.DataFrame) -> Charts:
    """Returns the charts of a dataset.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
    """
    originals = statistics.originals(examples)
    subsets = [subset for subset in built.subsets if images_of(subset) == subset]
    return Charts(
        splits=_splits(built),
        findings=None if built.task.multi_label else _findings(originals, subsets),
        pairs=_count_table(
            "Images with both findings; the diagonal has all images with a finding",
            "Finding",
            statistics.co_occurrence(originals),
        ),
        ages=_ages(statistics.ages_by_sex(originals)),
        note="Augmented copies are not counted here, but are among the examples to which a number leads."
        if len(originals) < len(examples)
        else "",
    )


def filters(**chosen: str) -> str:
    """Returns the hash that has the page's browser show some examples alone.

    >>> filters(finding="Nodule", subset="test")
    '#finding=Nodule&subset=test'
    """
    return "#" + urllib.parse.urlencode(chosen, quote_via=urllib.parse.quote)


def _splits(built: Built) -> Table:
    """Returns examples of each class by subset, and each class's share of the subset."""
    totals = pd.Series(built.metadata["examples"])[built.subsets]
    table = _bars(
        "Examples by class and subset, and their share of the subset"
        + ("; an image may have several classes" if built.task.multi_label else ""),
        "Class",
        statistics.class_counts(built),
        totals,
        # Where the findings are the classes, an image may have several: it is found by each.
        lambda name, subset: filters(
            **{"finding" if built.task.multi_label else "class": name}, **({} if subset == _ALL else {"subset": subset})
        ),
    )
    rows = {
        "Examples": built.metadata["examples"],
        **({"of these augmented copies": built.copies} if any(built.copies.values()) else {}),
        **({"of these augmented in place": built.in_place} if any(built.in_place.values()) else {}),
        "Patients": built.metadata["patients"],
    }
    plain = tuple(
        (name, *(f"{row[subset]:,}" for subset in built.subsets), f"{sum(row[s] for s in built.subsets):,}")
        for name, row in rows.items()
    )
    patients = (*plain[-1][:-1], f"{built.patients:,}")  # Those of copies are patients of their originals.
    return dataclasses.replace(table, rows=(*table.rows, *plain[:-1], patients))


def _findings(originals: pd.DataFrame, subsets: list[str]) -> Table:
    counts = statistics.finding_counts(originals, subsets)
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable", ascending=False).index]
    totals = originals["subset"].value_counts().reindex(subsets, fill_value=0)
    return _bars(
        "Images by finding and subset, and their share of the subset; an image may have several",
        "Finding",
        counts,
        totals,
        lambda name, subset: filters(finding=name, **({} if subset == _ALL else {"subset": subset})),
    )


def _bars(caption: str, first: str, counts: pd.DataFrame, totals: pd.Series, link: Callable[[str, str], str]) -> Table:
    """Makes a table whose bars are shares of the columns' totals, all on one scale, with a last column for all."""
    counts, totals = counts.assign(**{_ALL: counts.sum(axis=1)}), pd.concat([totals, pd.Series({_ALL: totals.sum()})])
    shares = 100 * counts / totals.clip(lower=1)
    longest = max(float(shares.to_numpy().max(initial=0)), 1e-9)
    rows = [
        (
            name,
            *(
                Bar(
                    f"{number:,}",
                    f"{share:.1f} %",
                    100 * share / longest,
                    link(name, subset) if number else "",
                )
                for subset, number, share in zip(counts.columns, numbers, parts, strict=True)
            ),
        )
        for name, numbers, parts in zip(counts.index, counts.to_numpy(), shares.to_numpy(), strict=True)
    ]
    return Table(caption, (first, *counts.columns), tuple(rows))


def _ages(counts: pd.DataFrame) -> Table:
    longest = max(1, counts.to_numpy().max(initial=0))
    rows = [
        (
            band,
            *(
                Bar(
                    f"{number:,}",
                    "",
                    100 * number / longest,
                    filters(age=band.replace(" to ", "-"), sex=sex) if number else "",
                )
                for sex, number in zip(counts.columns, numbers, strict=True)
            ),
        )
        for band, numbers in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    return Table("Images by age and sex", ("Age in years", *(SEX_IN_WORDS[sex] for sex in counts.columns)), tuple(rows))


def _count_table(caption: str, first: str, counts: pd.DataFrame) -> Table:
    """Makes a table of whole numbers, with the index as row headings."""
    rows = [
        (str(name), *(f"{int(value):,}" for value in row))
        for name, row in zip(counts.index, counts.to_numpy(int), strict=True)
    ]
    return Table(caption, (first, *map(str, counts.columns)), tuple(rows))
