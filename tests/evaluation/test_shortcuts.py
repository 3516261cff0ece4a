"""Tests of shortcuts: which changes of an image a network is told that it follows."""

import cv2
import numpy as np
import pytest

from nih_chest_xray.errors import CatalogError, UsageError
from nih_chest_xray.evaluation import changes, shortcuts
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.evaluation.printed import followed, shortcut_rows


def chest(side=256):
    """A soft picture with a bright, soft bone where markers are: (side, side) uint8."""
    y, x = np.mgrid[:side, :side] / side
    soft = 60 + 80 * np.exp(-((y - 0.6) ** 2 + (x - 0.5) ** 2) * 8)
    return (soft + 60 * np.exp(-((y - 0.2 - 0.3 * x) ** 2) * 2000)).astype(np.uint8)


def with_letter(image, top, left):
    """The letter L, an eighth of the picture high."""
    image, side = image.copy(), len(image)
    height, stroke = side // 12, max(2, side // 100)
    image[top : top + height, left : left + stroke] = 230
    image[top + height - stroke : top + height, left : left + height // 2] = 230
    return image


@pytest.mark.parametrize("side", [128, 256, 512])
def test_a_letter_beside_the_neck_is_painted_over_and_a_soft_bone_is_not(side):
    plain = chest(side)
    marked = with_letter(plain, side // 20, side - side // 6)
    assert not changes.markers(plain).any()
    letter = marked != plain
    mask = changes.markers(marked)
    assert mask[letter].all()
    assert mask.sum() < 12 * letter.sum()
    painted = changes.unmarked(marked, 1)
    assert np.abs(painted.astype(int) - plain)[letter].mean() < 25
    assert np.array_equal(painted[mask == 0], marked[mask == 0])


def test_a_small_bright_shape_with_soft_edges_is_no_marker():
    y, x = np.mgrid[:512, :512] / 512
    shape = chest(512) + 50 * np.exp(-((y - 0.1) ** 2 + (x - 0.85) ** 2) * 2700)
    assert not changes.markers(shape.astype(np.uint8)).any()


def test_a_letter_in_the_lungs_stays():
    marked = with_letter(chest(), 150, 120)
    assert np.array_equal(changes.unmarked(marked, 1), marked)


def test_corners_are_black_where_a_rotation_blackens_them():
    white = np.full((64, 64), 255, np.uint8)
    for sign in (1, -1):
        cornered, rotated = changes.cornered(white, sign), changes.rotated(white, sign)
        assert cornered[32, 32] == 255
        assert (cornered == 0).any()
        assert ((rotated < 128) == (cornered == 0)).mean() > 0.98
    assert not np.array_equal(changes.cornered(white, 1), changes.cornered(white, -1))


def tables(sound, predict, made, **options):
    done = run(made(sound), sound, bootstrap=20)
    return shortcuts.follow_shortcuts(predict, done.built, "test", done.images, done.truth, **options), done


def test_a_network_that_counts_black_corners_is_told_so(sound, made):
    def counts_black(images):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (64, 64, 1)
        return 0.1 + (images < 3).mean(axis=(1, 2, 3))

    found, done = tables(sound, counts_black, made)
    table = found["Nodule"].set_index("change")
    assert (table["images"] == (done.truth["Nodule"] == 0).sum()).all()
    assert table.loc["corners blackened", "difference"] > 0
    assert table.loc["flipped", "difference"] == 0
    said = list(followed(found["Nodule"]))
    follows = table.index[table["follows"].eq(True)]
    assert {"corners blackened", "rotated"} <= {*follows} or table["low"].isna().all()
    assert len(said) == len(follows)


def test_a_network_that_sees_the_mean_alone_does_not_follow_a_flip(sound, made):
    found, _ = tables(sound, lambda images: images.mean(axis=(1, 2, 3)) / 255, made)
    rows = {row[0]: row for row in shortcut_rows(found["Nodule"])}
    assert rows["flipped"][2].startswith("+0.000")
    assert "follows" not in rows["flipped"][4]


def test_differences_are_of_each_image_with_itself():
    """Of 40 patients, each image a tenth higher: the difference is certain, however much the scores differ."""
    plain = np.random.default_rng(0).uniform(size=80)
    noise = np.random.default_rng(1).normal(scale=0.01, size=80)
    table = shortcuts._table({"as they are": plain, "flipped": plain + 0.1 + noise}, np.arange(80) // 2, 200, 0)
    flipped = table.set_index("change").loc["flipped"]
    assert flipped["difference"] == pytest.approx(0.1 + noise.mean())
    assert 0.09 < flipped["low"] < flipped["high"] < 0.11
    assert flipped["follows"] is True
    assert f"negatives score {0.1 + noise.mean():+.3f}" in next(followed(table))


def test_a_difference_that_is_sure_but_small_is_not_followed():
    """Of scores with a standard deviation of 1, a twentieth is small, a fifth is not."""
    plain = np.random.default_rng(0).normal(size=80)
    changed = {
        "rotated": plain + 0.05 * plain.std() + 1e-6 * plain,
        "flipped": plain + 0.2 * plain.std() + 1e-6 * plain,
    }
    table = shortcuts._table({"as they are": plain, **changed}, np.arange(80) // 2, 200, 0)
    assert (table["low"][1:] > 0).all()
    assert table["follows"].tolist() == [None, False, True]


def test_outputs_are_of_the_datasets_classes(catalog_data, rows_of):
    folder = catalog_data / "nih_chest_xray/many/2.0.0"
    names = [row["image_name"] for row in rows_of(folder, "test")]
    done = run({name: [0.5] * 14 for name in names}, folder, bootstrap=2)

    def predict(images):
        return np.tile(np.arange(14) / 20, (len(images), 1))

    for classes in (["Mass", "Nodule"], list(done.truth)):
        found = shortcuts.follow_shortcuts(predict, done.built, "test", done.images, done.truth[classes], 20)
        assert list(found) == classes
        for name, table in found.items():
            assert table["score"].to_numpy() == pytest.approx(list(done.truth).index(name) / 20)


@pytest.mark.parametrize(
    ("predict", "expected"),
    [
        (lambda images: np.zeros((3, 7)), "is .3, 7.; expected finite scores"),
        (lambda images: np.zeros((len(images), 7)), "expected finite scores"),
        (lambda images: np.full(len(images), np.nan), "not finite"),
        (lambda images: 0.5, "is ..; expected"),
        (lambda images: None, "not finite|expected finite"),
        (lambda images: ["a"] * len(images), "failed on images .* uint8: ValueError"),
        (lambda images: 1 / 0, "failed on images .* uint8: ZeroDivisionError"),
    ],
)
def test_a_function_that_does_not_score_is_named(sound, made, predict, expected):
    with pytest.raises(UsageError, match=expected):
        tables(sound, predict, made)


@pytest.mark.parametrize(
    "entry", ["nothing", "nothing:", ":predict", "nothing.at.all:predict", "math:nothing", "math:pi"]
)
def test_an_entry_that_leads_to_no_function_is_named(entry):
    with pytest.raises(UsageError, match="--shortcuts") as raised:
        shortcuts.load_predict(entry)
    assert repr(entry) in str(raised.value)


def test_a_module_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "fails.py").write_text("raise RuntimeError('no GPU')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="RuntimeError: no GPU"):
        shortcuts.load_predict("fails:predict")


def test_an_image_that_is_not_in_the_records_is_named(sound, made):
    done = run(made(sound), sound, bootstrap=2)
    truth = done.truth.rename(index={done.truth.index[0]: "00000009_999.png"}).assign(Nodule=0)
    with pytest.raises(CatalogError, match="its records have no 00000009_999.png"):
        shortcuts.follow_shortcuts(lambda images: images[:, 0, 0], done.built, "test", done.images, truth)


@pytest.mark.real
@pytest.mark.parametrize("side", [256, 512, 1024])
def test_little_of_a_real_radiograph_is_taken_for_a_marker(real_dir, side):
    """Letters are half a percent of an image; nearly every radiograph has one."""
    shares = []
    for path in sorted((real_dir / "images").glob("*.png"))[::8]:
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask = changes.markers(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))
        shares.append(mask.mean())
    assert np.mean(np.array(shares) > 0) > 0.9
    assert np.mean(shares) < 0.01
