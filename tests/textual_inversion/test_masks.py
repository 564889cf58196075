"""Masks of edits, from files and boxes."""

import numpy as np
import pytest
from PIL import Image

from ldm.errors import UserError
from textual_inversion.masks import box_mask, read_mask


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.new("RGB", (60, 40)).save(path)
    return path


def write_mask(path, size, box, **how):
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    mask.save(path, **how)
    return path


def test_a_mask_is_cropped_as_its_picture(image, tmp_path):
    """Of 60 x 40 pixels, the columns 10 to 50 are read."""
    path = write_mask(tmp_path / "mask.png", (60, 40), (30, 0, 60, 20))
    expected = np.zeros((40, 40), dtype=bool)
    expected[:20, 20:] = True
    assert np.array_equal(read_mask(path, image, 40), expected)


def test_a_picture_turned_by_its_orientation_fits_an_upright_mask(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 60)).save(tmp_path / "phone.jpg", exif=exif)
    path = write_mask(tmp_path / "mask.png", (60, 40), (10, 0, 30, 40))
    assert read_mask(path, tmp_path / "phone.jpg", 40)[:, :20].all()


def test_a_mask_of_another_size_is_refused(image, tmp_path):
    path = write_mask(tmp_path / "mask.png", (40, 60), (0, 0, 20, 20))
    with pytest.raises(UserError, match=r"40 x 60 pixels.*60 x 40"):
        read_mask(path, image, 40)


@pytest.mark.parametrize(("box", "what"), [((0, 0, 60, 40), "the whole picture"), ((0, 0, 5, 5), "nothing")])
def test_a_mask_of_all_or_of_nothing_is_refused(image, tmp_path, box, what):
    """A corner outside of the centre square is nothing."""
    with pytest.raises(UserError, match=what):
        read_mask(write_mask(tmp_path / "mask.png", (60, 40), box), image, 40)


def test_a_box():
    mask = box_mask([0.25, 0.5, 0.5, 1.0], 8)
    assert mask.sum() == 8 and mask[4:, 2:4].all()


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0.5, 0, 0.5, 1], [0.8, 0, 0.2, 1], [0, 0, 2, 1], [0, 0, 1]])
def test_a_box_that_is_no_part_is_refused(box):
    with pytest.raises(UserError, match="box"):
        box_mask(box, 8)
