"""Hugging Face: writes Parquet files that `datasets.load_dataset` opens, with the types of all features."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.errors import UsageError
from nih_chest_xray.formats import dataset_card
from nih_chest_xray.formats.stored import Reader, features_of

_ALONE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""What keeps the libraries, which read it when they are imported, from the network."""


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Has libraries imported in the block use no network, and a cache that is removed; the environment is put back."""
    with tempfile.TemporaryDirectory() as cache:
        before = dict(os.environ)
        os.environ.update(_ALONE | {"HF_HOME": cache})
        try:
            yield
        finally:
            for name in (*_ALONE, "HF_HOME"):
                os.environ.pop(name) if name not in before else os.environ.update({name: before[name]})


try:
    with _alone():
        import datasets
        import pyarrow.parquet
        from datasets.info import DatasetInfosDict
        from datasets.splits import SplitDict
        from huggingface_hub import DatasetCardData
except ImportError as error:
    raise UsageError(
        f"{error.name} is not installed; get what this export needs with `pip install 'nih_chest_xray[export]'`"
    ) from error

SHARD = 450_000_000
"""Bytes of a file, about; the Hub's own are of at most 500 MB."""
ROWS = 100
"""Examples of a row group, which readers hold in memory as a whole; as `datasets` has it for images."""
_CONFIG = "default"
ABOUT = (
    "Every feature has the type and values that it has in the dataset, and a class is a number with a name. Boxes fill"
    " lists of a fixed length: where there is none, `bbox` is zeros and `finding` is -1. The image's bytes are those of"
    " the dataset, and of raw pixels a PNG."
)
"""What a reader of the files must know, for the dataset card."""


def write(built: Built, reader: Reader, folder: Path) -> str:
    """Writes `data/<subset>-00000-of-00005.parquet` and so on.

    Each file holds the types of all features in its metadata, as `datasets` stores them. The image is
    `{"bytes": …, "path": image name}`, with the stored bytes.

    Args:
      built: The dataset.
      reader: Reads its examples.
      folder: An empty folder.

    Returns:
      The YAML of a dataset card: files, features, sizes of the subsets, licence and tags.

    Raises:
      CatalogError: A record cannot be read.
      OSError: A file cannot be written.
    """
    features = as_features(features_of(built))
    (folder / "data").mkdir()
    splits = SplitDict(dataset_name=_CONFIG)
    for subset in built.subsets:
        splits.add(_write_subset(reader, features, subset, folder / "data"))
    written = sum(path.stat().st_size for path in (folder / "data").iterdir())
    info = datasets.DatasetInfo(
        features=features,
        splits=splits,
        download_size=written,
        dataset_size=sum(split.num_bytes for split in splits.values()),
    )
    card = DatasetCardData(**dataset_card.tags(built))
    DatasetInfosDict({_CONFIG: info}).to_dataset_card_data(card)
    files = [{"split": subset, "path": f"data/{subset}-*"} for subset in built.subsets]
    card["configs"] = [{"config_name": _CONFIG, "data_files": files}]
    return f"---\n{card.to_yaml()}\n---\n\n"


def as_features(features: tfds.features.FeaturesDict) -> datasets.Features:
    """Returns the features of a dataset in the types of `datasets`; a sequence keeps its fixed length."""
    first = {"image": datasets.Image()}
    return datasets.Features(first | {name: _feature(one) for name, one in features.items() if name != "image"})


def _feature(feature: tfds.features.FeatureConnector) -> Any:
    if isinstance(feature, tfds.features.ClassLabel):
        return datasets.ClassLabel(names=feature.names)
    if isinstance(feature, tfds.features.Text):
        return datasets.Value("string")
    if isinstance(feature, tfds.features.Sequence):
        length = next(iter(feature.get_tensor_info().values())).shape[0]
        return {key: datasets.List(_feature(inner), length=length or -1) for key, inner in feature.feature.items()}
    value = datasets.Value(np.dtype(feature.np_dtype).name)
    return datasets.List(value, length=feature.shape[0]) if feature.shape else value


def _write_subset(reader: Reader, features: datasets.Features, subset: str, folder: Path) -> datasets.SplitInfo:
    rows = size = 0
    schema = features.arrow_schema
    for shard, count, examples in reader.shards(subset, SHARD):
        path = folder / f"{subset}-{shard:05d}-of-{count:05d}.parquet"
        # No dictionary: of images it would be a second copy in memory.
        with pyarrow.parquet.ParquetWriter(path, schema, compression="snappy", use_dictionary=False) as writer:
            while batch := list(itertools.islice(examples, ROWS)):
                columns: dict[str, list[Any]] = {name: [] for name in features}
                for example in batch:
                    columns["image"].append({"bytes": example.content, "path": example.name})
                    for name, value in example.fields.items():
                        columns[name].append(value)
                table = pyarrow.Table.from_pydict(features.encode_batch(columns), schema)
                writer.write_table(table)
                rows, size = rows + table.num_rows, size + table.nbytes
    return datasets.SplitInfo(subset, num_bytes=size, num_examples=rows)


def reading(built: Built, folder: str) -> str:
    """Returns Python that reads the subsets of an export in a folder."""
    subset = built.training_split.partition("+")[0]
    return (
        "from datasets import load_dataset\n\n"
        f"dataset = load_dataset({json.dumps(folder, ensure_ascii=False)})\n"
        f'example = dataset["{subset}"][0]  # example["image"] is a PIL image\n'
    )
