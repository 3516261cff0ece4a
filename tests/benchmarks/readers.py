"""Ways to read a stored dataset, each an endless iterator of batches: images (32, …) uint8 and labels.

    python tests/benchmarks/readers.py WAY PLACE FORMAT SIZE [DISK]

prints the rate of one way as JSON. All have two workers (`tfds.load` its threads, on as many cores), decode to uint8,
and shuffle as their users would. DISK is a control group whose reading is limited; see reading.py.
"""

import functools
import io
import json
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path

BATCH, WORKERS = 32, 2
WARM_UP, MEASURED = 2.5, 4
"""Seconds. TensorFlow takes a while to find out how many threads a step should have."""
_EVICTED_EVERY = 0.1
"""Seconds after which what was read is taken out of the page cache, where the disk is measured."""


# This package.


def tfds_load(place: str, _format: str):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(place)
    # The full release does not fit into memory, so what fits is not to be kept there either, which TFDS would do.
    config = tfds.ReadConfig(try_autocache=False)
    train = builder.as_dataset(split=every(builder), as_supervised=True, shuffle_files=True, read_config=config)
    # Repeated before it is batched, so that no pass starts with empty buffers: those of a real dataset are long.
    return iter(train.repeat().shuffle(1000).batch(BATCH).prefetch(tf.data.AUTOTUNE))


def every(builder) -> str:
    return "+".join(builder.info.splits)


def data_source(place: str, _format: str):
    import tensorflow_datasets as tfds

    import nih_chest_xray

    builder = tfds.builder_from_directory(place)
    return loaded(nih_chest_xray.data_source(builder, every(builder)), collate_examples)


def data_source_of_tfds(place: str, _format: str):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(place)
    return loaded(builder.as_data_source(every(builder)), collate_examples)


def collate_examples(examples):
    import torch

    images, labels = torch.utils.data.default_collate([(each["image"], each["label"]) for each in examples])
    return images.permute(0, 3, 1, 2), labels


def grain(place: str, _format: str):
    import tensorflow_datasets as tfds
    from absl import flags
    from grain import MapDataset, MultiprocessingOptions, ReadOptions

    import nih_chest_xray

    flags.FLAGS.mark_as_parsed()
    builder = tfds.builder_from_directory(place)
    source = nih_chest_xray.data_source(builder, every(builder))
    batches = MapDataset.source(source).seed(0).shuffle().repeat().map(image_and_label).batch(BATCH)
    read = batches.to_iter_dataset(ReadOptions(num_threads=1, prefetch_buffer_size=2 * BATCH))
    workers = MultiprocessingOptions(num_workers=WORKERS)
    return ((batch["image"], batch["label"]) for batch in read.mp_prefetch(workers))


def image_and_label(example):
    return {"image": example["image"], "label": example["label"]}


# Others.


def folder_pillow(place: str, _format: str):
    return loaded(Files(place, pillow_file), collate_pairs)


def folder_imageio(place: str, _format: str):
    """As torchxrayvision's NIH_Dataset, which calls imageio by way of scikit-image; but to uint8."""
    return loaded(Files(place, imageio_file), collate_pairs)


class Files:
    """The files of a folder of classes."""

    def __init__(self, place, read):
        self.paths = sorted(str(path) for path in Path(place).glob("*/*"))
        self.read = read

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        return self.read(path)[None], int(path.split("/")[-2])


def pillow_file(path):
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def imageio_file(path):
    import imageio.v2

    return imageio.v2.imread(path)


def huggingface(place: str, _format: str):
    from stores import _open_parquet

    return loaded(_open_parquet(place).with_transform(huggingface_arrays), huggingface_collate)


def huggingface_arrays(batch):
    import numpy as np

    return batch | {"image": [np.asarray(image)[None] for image in batch["image"]]}


def huggingface_collate(examples):
    return collate_pairs([(each["image"], each["label"]) for each in examples])


def webdataset(place: str, image_format: str):
    import webdataset as wds

    paths = sorted(map(str, Path(place).glob("*.tar")))
    stored = wds.WebDataset(paths, shardshuffle=len(paths), nodesplitter=None, empty_check=False).repeat()
    stored = stored.shuffle(1000).map(functools.partial(webdataset_pair, ending=ending_of(image_format)))
    batches = stored.batched(BATCH, collation_fn=collate_pairs, partial=False)
    return iter(wds.WebLoader(batches, batch_size=None, num_workers=WORKERS, multiprocessing_context="forkserver"))


def webdataset_pair(sample, ending):
    return pillow_bytes(sample[ending])[None], int(sample["cls"])


def litdata(place: str, _format: str):
    import litdata as ld

    class Pairs(ld.StreamingDataset):
        def __getitem__(self, index):
            stored = super().__getitem__(index)
            return pillow_bytes(stored["image"])[None], stored["label"]

    def passes():
        loader = ld.StreamingDataLoader(
            Pairs(place, shuffle=True),
            batch_size=BATCH,
            num_workers=WORKERS,
            persistent_workers=True,
            collate_fn=collate_pairs,
        )
        while True:
            yield from loader

    return passes()


def pillow_bytes(content):
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))


def collate_pairs(pairs):
    import torch

    return torch.utils.data.default_collate(pairs)


def loaded(dataset, collate):
    """PyTorch's DataLoader over a dataset, shuffled, pass after pass without a pause between them."""
    import torch

    order = Passes(len(dataset))
    return iter(
        torch.utils.data.DataLoader(
            dataset,
            BATCH,
            sampler=order,
            num_workers=WORKERS,
            collate_fn=collate,
            drop_last=True,
            multiprocessing_context="forkserver",
        )
    )


class Passes:
    def __init__(self, number):
        self.number = number

    def __iter__(self):
        import torch

        while True:
            yield from torch.randperm(self.number).tolist()


def ending_of(image_format: str) -> str:
    return {"jpeg": "jpg"}.get(image_format, image_format)


# Measuring.


def evict(place: str) -> None:
    """Takes a folder's files out of the page cache, again and again."""
    files = [os.open(path, os.O_RDONLY) for path in Path(place).iterdir() if path.is_file()]
    while True:
        for file in files:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        time.sleep(_EVICTED_EVERY)


def cpu_seconds() -> float:
    """Returns the CPU time of this session's processes, workers included; a busy machine changes it little."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # A command may hold blanks.
        except OSError:  # It has just ended.
            continue
        if int(fields[3]) == os.getsid(0):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(way: str, place: str, image_format: str, size: str, disk: str = "") -> None:
    os.setsid()
    if disk:
        (Path(disk) / "cgroup.procs").write_text(str(os.getpid()))  # Its workers are in it too.
        threading.Thread(target=evict, args=[place], daemon=True).start()
    batches = globals()[way](place, image_format)
    for seconds in (WARM_UP, MEASURED):
        images, labels = next(batches)  # The workers have started.
        start, cpu, number = time.perf_counter(), cpu_seconds(), 0
        while time.perf_counter() - start < seconds:
            images, labels = next(batches)
            number += len(labels)
        spent, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    assert sorted(images.shape) == sorted((BATCH, 1, int(size), int(size)))
    assert "uint8" in str(images.dtype)
    print(json.dumps({"images": number, "seconds": spent, "cpu": 1000 * cpu / number}), flush=True)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)  # Endless iterators do not end by themselves.


if __name__ == "__main__":
    measure(*sys.argv[1:])
