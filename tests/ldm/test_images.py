import numpy as np
import torch
from PIL import Image

from ldm.images import save_png, tile, to_tensor, to_uint8


def test_uint8_becomes_minus_one_to_one():
    x = to_tensor(np.array([[[[0, 255, 51]]]], dtype=np.uint8))
    assert x.shape == (1, 3, 1, 1) and x.dtype == torch.float32
    torch.testing.assert_close(x.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_pictures_survive_the_way_to_tensors_and_back():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    assert (to_uint8(to_tensor(images)) == images).all()
    assert to_uint8(torch.tensor([-3.0, 3.0, 0.0]).view(1, 3, 1, 1)).tolist() == [[[[0, 255, 128]]]]


def test_a_grid_holds_every_picture_in_its_place_on_white():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 255, (n, 4, 6, 3), dtype=np.uint8) for n in (3, 3, 1)]
    sheet = tile(rows, gap=2)
    assert sheet.shape == (3 * 6, 3 * 8, 3)
    places = np.ones(sheet.shape[:2], dtype=bool)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            place = np.s_[6 * i : 6 * i + 4, 8 * j : 8 * j + 6]
            assert (sheet[place] == picture).all()
            places[place] = False
    assert (sheet[places] == 255).all()


def test_a_picture_is_saved_losslessly_in_a_folder_that_need_not_exist(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_png(tmp_path / "a" / "b.png", image)
    assert (np.asarray(Image.open(tmp_path / "a" / "b.png")) == image).all()
