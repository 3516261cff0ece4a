"""Tests of boxes: the NIH's list is read as it is, and a box stays on what it marks when the image is augmented."""

import dataclasses

import cv2
import numpy as np
import pytest

from nih_chest_xray.errors import TableError
from nih_chest_xray.images.augmentation import augment, move
from nih_chest_xray.phantom.drawing import draw_anatomy, draw_radiograph
from nih_chest_xray.tables.boxes import read_boxes
from nih_chest_xray.vocabulary import BOX_FILE, Box

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def text(*rows):
    return "\n".join([HEADER, *rows]).encode()


def test_boxes_are_shares_of_the_1024_pixels_in_the_order_of_the_file():
    content = text("00000001_000.png,Mass,256,512,128,64,,,", "00000001_000.png,Infiltrate,0,0,1024,1024,,,")
    assert read_boxes(content, "boxes.csv") == {
        "00000001_000.png": (Box("Mass", 0.25, 0.5, 0.375, 0.5625), Box("Infiltration", 0.0, 0.0, 1.0, 1.0))
    }


ROWS = ("00000001_000.png,Mass,256,512,128,64", "00000001_000.png,Infiltrate,0,0,1024,1024")


@pytest.mark.parametrize(
    ("header", "before", "behind"),
    [
        ("Image Index,Finding Label,Bbox x,Bbox y,Bbox w,Bbox h", "", ""),
        ("Image Index,Finding Label,Bbox [x,y,w,h]", "", ""),
        ('Image Index,Finding Label,"Bbox [x,y,w,h]"', "", ""),
        ('Image Index,Finding Label,"Bbox [x,y,w,h]",,,', "", ",,,"),
        ("image_index,finding_label,x,y,w,h", "", ""),
        ("Image Index,Finding Label,Bbox [x,y,w,h],Unnamed: 6,Unnamed: 7,Unnamed: 8", "", ",,,"),
        (",Image Index,Finding Label,Bbox [x,y,w,h],Unnamed: 6,Unnamed: 7,Unnamed: 8", "0,", ",,,"),
        ("Unnamed: 0," + HEADER, "0,", ",,,"),
    ],
)
def test_every_spelling_of_the_header_gives_the_same_boxes(header, before, behind):
    rows = [before + row.replace("Infiltrate", "Infiltration").replace("256", "256.0") + behind for row in ROWS]
    assert read_boxes("\n".join([header, *rows]).encode(), "boxes.csv") == read_boxes(
        text(*(f"{row},,," for row in ROWS)), "boxes.csv"
    )


@pytest.mark.parametrize("content", [HEADER.encode(), f"{HEADER}\r\n".encode()])
def test_a_header_without_rows_is_a_list_of_no_boxes(content):
    assert read_boxes(content, "boxes.csv") == {}


def test_an_edge_that_passes_the_images_by_a_rounding_error_is_clipped():
    [[box]] = read_boxes(text("00000001_000.png,Mass,1000,0,24.4,10,,,"), "boxes.csv").values()
    assert box.xmax == 1.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("00000001_000.png,No Finding,1,1,5,5,,,", "row 2: finding is 'No Finding'"),
        ("1.png,Mass,1,1,5,5,,,", "row 2: image_name is '1.png'"),
        ("00000001_000.png,Mass,x,1,5,5,,,", "row 2: x is 'x'.* expected pixels from 0 to 1024"),
        ("00000001_000.png,Mass,1,1000,5,50,,,", "row 2: height is '50'.* ends at the image's edge"),
        ("00000001_000.png,Mass,1,1,5", "row 2: 5 cells; expected 6"),
    ],
)
def test_a_box_that_cannot_be_is_an_error_with_its_row(row, message):
    with pytest.raises(TableError, match=f"boxes.csv, {message}"):
        read_boxes(text(row), "boxes.csv")


def test_a_flipped_box_is_the_mirror_image(make_config):
    [box] = move((Box("Mass", 0.1, 0.2, 0.3, 0.4),), "horizontal_flip", 0.0, make_config())
    assert dataclasses.astuple(box) == ("Mass", *map(pytest.approx, (0.7, 0.2, 0.9, 0.4)))


def test_a_quarter_turn_takes_a_box_where_it_takes_pixels(make_config):
    """A draw of 0.6875 of 36 to 180 degrees is a quarter turn, anticlockwise: (x, y) goes to (y, 1 - x)."""
    [box] = move((Box("Mass", 0.1, 0.2, 0.3, 0.25),), "rotation", 0.6875, make_config(rotation_degrees=180))
    assert dataclasses.astuple(box) == ("Mass", *map(pytest.approx, (0.2, 0.7, 0.25, 0.9)))
    image = np.zeros((1024, 1024), np.uint8)
    image[205:256, 103:307] = 255
    turned = augment(image, "rotation", 0.6875, make_config(rotation_degrees=180))
    assert (turned[717:921, 205:256] == 255).all()


def test_a_box_turned_out_of_the_image_is_clipped_or_left_out(make_config):
    corner = Box("Mass", 0.0, 0.0, 0.02, 0.02)
    edge = Box("Nodule", 0.45, 0.0, 0.55, 0.1)
    [kept] = move((corner, edge), "rotation", 0.625, make_config(rotation_degrees=180))
    assert kept.finding == "Nodule"
    assert min(kept.xmin, kept.ymin) >= 0


def test_boxes_of_an_augmentation_that_moves_nothing_stay(make_config):
    assert move((), "rotation", 0.3, make_config()) == ()


@pytest.mark.parametrize(("name", "draw"), [("horizontal_flip", 0.5), ("rotation", 0.0), ("rotation", 0.97)])
def test_an_augmented_box_holds_the_drawn_nodule(phantom, make_config, name, draw):
    """The nodule is found as the difference between a picture with it and the same picture without."""
    boxes = read_boxes(phantom.tables()[BOX_FILE], BOX_FILE)
    checked = 0
    for study in [study for study in phantom.studies if len(study.nodules) == 1][:6]:
        anatomy = draw_anatomy(study.anatomy_seed, study.sex, study.anatomy_age)
        pictures = [
            draw_radiograph(anatomy, study.view, study.spacing, nodules, study.image_seed)
            for nodules in (study.nodules, ())
        ]
        config = make_config(rotation_degrees=25)
        with_nodule, without = (augment(picture, name, draw, config) for picture in pictures)
        # The phantom is drawn at half the size, so a nodule's rim may pass its outline by the enlargement's two pixels.
        ys, xs = np.nonzero(cv2.absdiff(with_nodule, without) > 4)
        [box] = move(boxes[study.name], name, draw, config)
        xmin, ymin, xmax, ymax = (1024 * edge for edge in (box.xmin, box.ymin, box.xmax, box.ymax))
        assert xmin - 2 <= xs.min() <= xs.max() + 1 <= xmax + 2
        assert ymin - 2 <= ys.min() <= ys.max() + 1 <= ymax + 2
        # A turned box is the box around its corners: by at most cos 25 + sin 25 = 1.33 longer than the nodule is.
        assert (xmax - xmin) < 1.33 * (xs.max() - xs.min()) + 16
        assert (ymax - ymin) < 1.33 * (ys.max() - ys.min()) + 16
        checked += 1
    assert checked >= 3


@pytest.mark.real
def test_the_nihs_list_has_984_boxes_on_880_images_of_which_79_are_nodules(real_dir, real_labels):
    boxes = read_boxes((real_dir / BOX_FILE).read_bytes(), BOX_FILE)
    assert len(boxes) == 880
    assert sum(map(len, boxes.values())) == 984
    findings = dict(zip(real_labels["image_name"], real_labels["findings"], strict=True))
    # The list is the source here, the label file the check: each boxed finding is one of the image's.
    assert all(box.finding in findings[name] for name, marked in boxes.items() for box in marked)
