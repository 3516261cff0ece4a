"""Stores the images of a built dataset as other libraries have them: the same bytes, with the same labels.

Each function takes pairs of an image's bytes and its label, their file ending, and the folder to write to.
"""

import io
import tarfile
from pathlib import Path

_SHARDS = 8

Pairs = list[tuple[bytes, int]]


def folder(pairs: Pairs, ending: str, place: str) -> None:
    """One file an image, in a folder for each class, as torchvision's ImageFolder and torchxrayvision have them."""
    for number, (content, label) in enumerate(pairs):
        path = Path(place) / str(label) / f"{number:08d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def huggingface(pairs: Pairs, ending: str, place: str) -> None:
    """Parquet with an Image column, as the Hugging Face Hub has datasets."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=2)})
    table = {"image": [{"bytes": content, "path": None} for content, _ in pairs], "label": [each for _, each in pairs]}
    datasets.Dataset.from_dict(table, features=features).to_parquet(f"{place}.parquet")
    _open_parquet(place).cleanup_cache_files()  # Makes the Arrow file that it reads from.


def _open_parquet(place: str):
    import datasets

    return datasets.load_dataset("parquet", data_files=f"{place}.parquet", split="train", cache_dir=f"{place}.cache")


def webdataset(pairs: Pairs, ending: str, place: str) -> None:
    """Tar files of images and labels."""
    Path(place).mkdir()
    for shard in range(_SHARDS):
        with tarfile.open(f"{place}/{shard:06d}.tar", "w") as tar:
            for number in range(shard, len(pairs), _SHARDS):
                content, label = pairs[number]
                for end, data in ((ending, content), ("cls", str(label).encode())):
                    member = tarfile.TarInfo(f"{number:08d}.{end}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def litdata(pairs: Pairs, ending: str, place: str) -> None:
    """LitData's chunks."""
    from litdata.streaming.writer import BinaryWriter

    Path(place).mkdir()
    writer = BinaryWriter(place, chunk_bytes="64MB")
    for number, (content, label) in enumerate(pairs):
        writer[number] = {"image": content, "label": label}
    writer.done()
    writer.merge()


STORES = {"folder": folder, "huggingface": huggingface, "webdataset": webdataset, "litdata": litdata}
