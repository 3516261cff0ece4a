"""Loading: writes the page's code snippets, which read a dataset from where it is."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import location
from nih_chest_xray.vocabulary import DATASET

_FETCHED = "DATA_DIR"
_NAMESPACE = "lab"


@dataclasses.dataclass(frozen=True)
class Snippet:
    """Code to copy.

    Attributes:
      key: A word that is unique among the page's snippets.
      title: What the code is for.
      language: The language of the code.
      code: The code.
      is_library: Whether it is one of the ways to read the dataset with a library, of which a reader needs one.
    """

    key: str
    title: str
    language: str
    code: str
    is_library: bool = False


def first_lines(built: Built, url: str | None) -> Snippet:
    """Returns the code that opens the training subset, in as few lines as there are."""
    opened = _opened(built, _place(built, url), by_index=built.file_format == "array_record")
    code = f"import tensorflow_datasets as tfds\n\n{_variable(built)} = {opened}\n"
    return Snippet("load", "Load the training subset", "Python", code)


def snippets(built: Built, url: str | None) -> list[Snippet]:
    """Returns the code that reads a dataset with each library and by a namespace, and downloads it first if necessary.

    With a namespace of TFDS, a program names whose dataset it wants instead of the folder.
    """
    place = _place(built, url)
    found = []
    if place != location(built, url):
        into = shlex.quote(place)
        found.append(
            Snippet(
                "fetch",
                "Download, with manifest.tsv and SHA256SUMS from this page",
                "Shell",
                f"tail -n +2 manifest.tsv | cut -f 1 | wget -nv -N --no-if-modified-since -i - -P {into}\n"
                f'(sums="$PWD/SHA256SUMS" && cd {into} && sha256sum --quiet -c "$sums")',
            )
        )
    # TensorFlow reads any other format better than array_record, PyTorch and JAX read by index.
    only_by_index = built.file_format == "array_record"
    for key, title in (("tensorflow", "TensorFlow"), ("pytorch", "PyTorch"), ("jax", "JAX")):
        by_index = only_by_index if key == "tensorflow" else "array_record" in built.file_formats
        code, opened = _BY_INDEX if by_index else _IN_ORDER, _opened(built, place, by_index)
        # Inside the method of a class, the expression is indented further.
        indented = textwrap.indent(opened, " " * 8).lstrip() if "{indented}" in code[key] else ""
        text = code[key].format(opened=opened, indented=indented, subset=_variable(built))
        found.append(Snippet(key, title, "Python", text, is_library=True))
    if root := _root(built, place):
        name = f"{_NAMESPACE}:{built.full_name}:{built.version}"
        text = _BY_NAME.format(
            namespace=_NAMESPACE, root=_quoted(root), subset=_variable(built), call=_call(built, name, only_by_index)
        )
        found.append(Snippet("namespace", "By a namespace that your team chooses", "Python", text))
    return found


def one_liner(built: Built, file_format: str) -> str:
    """Returns a line that reads all subsets of a dataset on this machine in one of its formats."""
    place = location(built, None)
    root = _root(built, place)
    where = f"{_quoted(built.full_name)}, data_dir={_quoted(root)}" if root else _quoted(place)
    if file_format != built.file_format or file_format == "array_record":
        opened = (
            f"builder{'' if root else '_from_directory'}({where}).as_data_source(file_format={_quoted(file_format)})"
        )
    else:
        opened = f"load({where})" if root else f"builder_from_directory({where}).as_dataset()"
    return f"import tensorflow_datasets as tfds; datasets = tfds.{opened}"


def packages(built: Built) -> str:
    """Returns the packages that the snippets need besides PyTorch or JAX, for `pip install`."""
    # By index, TFDS decodes images with Pillow, which it does not declare.
    return "tensorflow tensorflow-datasets" + (" pillow" if "array_record" in built.file_formats else "")


def _place(built: Built, url: str | None) -> str:
    """Returns the folder that TFDS reads the dataset from. From a web server it has to be downloaded to one first."""
    place = location(built, url)
    if place.startswith(("http://", "https://")):
        return f"{_FETCHED}/{DATASET}/{built.config_name}/{built.version}"
    return place


def _root(built: Built, place: str) -> str | None:
    """Returns the folder in which TFDS finds the dataset by name; None if the dataset's folders have other names."""
    root = place.removesuffix(f"/{DATASET}/{built.config_name}/{built.version}")
    return None if root == place else root


def _call(built: Built, name: str, by_index: bool, *more: str) -> str:
    """Returns the call that opens the training subset by a name."""
    arguments = [_quoted(name), *more, f'split="{built.training_split}"', *([] if by_index else ["as_supervised=True"])]
    function = "data_source" if by_index else "load"
    return f"tfds.{function}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _opened(built: Built, place: str, by_index: bool) -> str:
    """Returns the expression that opens the training subset."""
    root = _root(built, place)
    split = f'split="{built.training_split}"'
    several = by_index and "parquet" in built.file_formats  # Of these two, `tfds.data_source` takes one by chance.
    chosen = ', file_format="array_record"' if several else ""
    method = f"as_data_source({split}{chosen})"
    if root is None:
        method = method if by_index else f"as_dataset({split}, as_supervised=True)"
        return f"tfds.builder_from_directory(\n    {_quoted(place)}\n).{method}"
    if several:
        name = _quoted(f"{built.full_name}:{built.version}")
        return f"tfds.builder(\n    {name},\n    data_dir={_quoted(root)},\n).{method}"
    return _call(built, f"{built.full_name}:{built.version}", by_index, f"data_dir={_quoted(root)}")


def _variable(built: Built) -> str:
    """Returns the name of the training subset in the code."""
    return "train" if "+" in built.training_split else built.training_split


def _quoted(text: str) -> str:
    """Returns a text as a Python literal in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    # Code that somebody copies must not hold characters that are invisible or change the text direction.
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped) + '"'


_BY_NAME = """\
import tensorflow_datasets as tfds
from tensorflow_datasets.core.community import NamespaceConfig
from tensorflow_datasets.core.community.config import get_community_config

# Once, before the first dataset of any namespace is loaded.
get_community_config().add_namespace("{namespace}", NamespaceConfig(paths=[{root}]))
{subset} = {call}
"""
_IN_ORDER = {
    "tensorflow": """\
import tensorflow_datasets as tfds

{subset} = {opened}
for images, labels in {subset}.shuffle(1000).batch(32).prefetch(2):
    ...
""",
    "pytorch": """\
import tensorflow_datasets as tfds
import torch


class Radiographs(torch.utils.data.IterableDataset):
    def __iter__(self):
        {subset} = {indented}
        for image, label in tfds.as_numpy({subset}.shuffle(1000)):
            yield torch.tensor(image).permute(2, 0, 1), torch.tensor(label)


# Leave num_workers at 0: each worker would read everything. `nih-chest-xray convert` adds array_record, which several
# can read.
for images, labels in torch.utils.data.DataLoader(Radiographs(), batch_size=32):
    ...
""",
    "jax": """\
import jax
import tensorflow_datasets as tfds

{subset} = {opened}
for images, labels in tfds.as_numpy({subset}.shuffle(1000).batch(32)):
    images, labels = jax.device_put((images, labels))
""",
}
_BY_INDEX = {
    "tensorflow": """\
import tensorflow as tf
import tensorflow_datasets as tfds

source = {opened}
kinds = (source[0]["image"], source[0]["label"])
{subset} = tf.data.Dataset.from_generator(
    lambda: ((example["image"], example["label"]) for example in source),
    output_signature=tf.nest.map_structure(tf.type_spec_from_value, tf.nest.map_structure(tf.convert_to_tensor, kinds)),
)
for images, labels in {subset}.shuffle(1000).batch(32).prefetch(2):
    ...
""",
    "pytorch": """\
import tensorflow_datasets as tfds
import torch

source = {opened}


def stack(examples):
    images = torch.stack([torch.tensor(example["image"]).permute(2, 0, 1) for example in examples])
    return images, torch.stack([torch.tensor(example["label"]) for example in examples])


# With num_workers=…, also set multiprocessing_context="forkserver": forked workers crash after the source was read.
for images, labels in torch.utils.data.DataLoader(source, batch_size=32, shuffle=True, collate_fn=stack):
    ...
""",
    "jax": """\
import jax
import numpy as np
import tensorflow_datasets as tfds

source = {opened}
order = np.random.default_rng(0).permutation(len(source))
for chosen in np.array_split(order, max(1, len(order) // 32)):
    examples = [source[int(number)] for number in chosen]
    images, labels = jax.device_put([np.stack([example[key] for example in examples]) for key in ("image", "label")])
""",
}
