"""Tests of builds with Beam: the same dataset as a local build's, by every runner that a machine alone can start."""

import contextlib
import hashlib
import json
import socket
import subprocess
import sys
import time

import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions

import nih_chest_xray
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.vocabulary import SUBSETS


@contextlib.contextmanager
def job_server(folder):
    """A job server in a process of its own, which starts worker processes of their own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    with (folder / "job_server.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", module, "--port", str(port)], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                    break
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def options(runner, folder):
    direct = ["--runner=DirectRunner", "--direct_num_workers=2"]
    if runner != "portable":
        yield PipelineOptions([*direct, f"--direct_running_mode=multi_{runner}"])
        return
    with job_server(folder) as port:
        worker = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main"
        yield PipelineOptions(
            [
                "--runner=PortableRunner",
                f"--job_endpoint=localhost:{port}",
                "--environment_type=beam:env:harness_subprocess_python:v1",
                f"--environment_config={worker}",
            ]
        )


@pytest.fixture(scope="module")
def release_dir(phantom, tmp_path_factory):
    """Some images in a folder, the others in two archives that share a third of them."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "images").mkdir()
    for name, content in phantom.tables().items():
        (folder / name).write_bytes(content)
    images = list(phantom.drawn.items())
    third = len(images) // 3
    for name, content in images[:third]:
        (folder / "images" / name).write_bytes(content)
    shared = images[third : 2 * third]
    (folder / "images_001.tar.gz").write_bytes(tar_gz(shared))
    (folder / "images_002.tar.gz").write_bytes(tar_gz(shared[third // 2 :] + images[2 * third :]))
    return folder


def build(release_dir, data_dir, beam_options=None, cap=None):
    config = nih_chest_xray.NihChestXrayConfig(
        name="beam",
        validation_fraction=0.2,
        test_fraction=0.2,
        augmented_copies=2,
        augmentations=("rotation+noise", "horizontal_flip"),
        matched_augmentation=True,
        image_size=32,
        allow_missing_images=True,
    )
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir)
    download = tfds.download.DownloadConfig(
        manual_dir=release_dir, beam_options=beam_options, max_examples_per_split=cap
    )
    with pytest.warns(UserWarning, match="the NIH's"):  # Tables and archives are none of them.
        builder.download_and_prepare(download_config=download)
    return builder


def stored(builder):
    """Each subset's examples in their order, as bytes."""
    keep = {"image": tfds.decode.SkipDecoding()}
    return {
        subset: [
            {key: value for key, value in example.items() if key not in ("bboxes", "image")}
            | {"image": hashlib.sha256(example["image"]).hexdigest(), "boxes": str(example["bboxes"])}
            for example in tfds.as_numpy(builder.as_dataset(split=subset, decoders=keep))
        ]
        for subset in SUBSETS
    }


@pytest.fixture(scope="module")
def local(release_dir, tmp_path_factory):
    return build(release_dir, tmp_path_factory.mktemp("local"))


@pytest.mark.parametrize(
    "runner", ["threading", *(pytest.param(name, marks=pytest.mark.slow) for name in ("processing", "portable"))]
)
def test_beam_builds_the_same_dataset_as_a_local_build(runner, release_dir, local, tmp_path):
    with options(runner, tmp_path) as beam_options:
        builder = build(release_dir, tmp_path / "data", beam_options)
    assert (builder.data_path / "metadata.csv").read_text() == (local.data_path / "metadata.csv").read_text()
    ours, theirs = (json.loads((b.data_path / "metadata.json").read_text()) for b in (builder, local))
    assert ours == theirs
    assert set(ours["repacked_archives"]) == {"images_001.tar.gz", "images_002.tar.gz"}
    for subset in SUBSETS:
        examples, expected = stored(builder)[subset], stored(local)[subset]
        assert [str(example) for example in examples] == [str(example) for example in expected]
    assert "beam" not in {path.name for path in builder.data_path.iterdir()}


@pytest.mark.slow
def test_a_cap_is_said_where_it_is_kept_and_beam_keeps_none(release_dir, local, tmp_path):
    with options("threading", tmp_path) as beam_options:
        beam = build(release_dir, tmp_path / "beam", beam_options, cap=3)
    capped = build(release_dir, tmp_path / "capped", cap=3)
    for builder, cap, examples in (
        (local, None, local.info.metadata["examples"]),
        (beam, None, local.info.metadata["examples"]),
        (capped, 3, dict.fromkeys(SUBSETS, 3)),
    ):
        metadata = json.loads((builder.data_path / "metadata.json").read_text())
        assert (metadata["max_examples_per_split"], metadata["examples"]) == (cap, examples)


def test_what_is_sent_with_the_pipeline_does_not_grow_with_the_release(release_dir, phantom, tmp_path, make_config):
    """Each task is two file names: tables and lists of images lie in files, and images of a table are in no other."""
    from etils import epath

    from nih_chest_xray.building.beam import BeamBuild, _read_table
    from nih_chest_xray.planning.plan import make_plan
    from nih_chest_xray.release.find import find_release

    config = make_config(allow_missing_images=True)
    found = find_release(epath.Path(release_dir), {}, allow_repacked=True)
    plan = make_plan(read_tables(found, config, {}), config)
    manifest = plan.manifest
    build = BeamBuild(found, manifest, config, epath.Path(tmp_path))
    assert all(len(str(task)) < 1000 for task in build._tasks)
    tables = {table for _, _, table in build._tasks}
    assert len(build._tasks) == 3
    assert len(tables) == 2  # The archives of unknown contents share one.
    names = [name for table in tables for name in _read_table(table)]
    assert sorted(names) == sorted(set(manifest["source_name"]))
    build.close()
    assert list(tmp_path.iterdir()) == []
