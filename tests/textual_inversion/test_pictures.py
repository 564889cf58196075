import logging

import numpy as np
import pytest
from PIL import Image

from textual_inversion.picture_file import kind_of
from textual_inversion.pictures import load_pictures

ORIENTATION = 0x0112
# How a camera stores an upright image, by EXIF orientation.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


def noise(height=24, width=24):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def put(folder, name="a.png", pixels=None, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(noise() if pixels is None else pixels)
    image.save(folder / name, **options)
    return folder / name


def only(folder, size=24):
    (image,) = load_pictures(folder, size).images
    return image


def test_pictures_come_sorted_by_name_and_as_they_are(tmp_path):
    for name, value in (("b.png", 20), ("a.png", 10), ("c.png", 30)):
        put(tmp_path, name, np.full((8, 8, 3), value, np.uint8))
    pictures = load_pictures(tmp_path, 8)
    assert pictures.names == ("a.png", "b.png", "c.png")
    assert pictures.images.shape == (3, 8, 8, 3) and pictures.images.dtype == np.uint8
    assert pictures.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert pictures.skipped == ()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_the_eight_orientations_are_one_picture(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    upright = noise(24, 32)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    put(tmp_path, f"a.{suffix}", stored, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(only(tmp_path), upright[:, 4:28])


def test_the_centre_is_cut_out_and_not_squashed(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    put(tmp_path, "a.png", pixels)
    assert (only(tmp_path, 10) == 255).all()


def test_shrinking_averages(tmp_path):
    board = np.indices((64, 64)).sum(0) % 2 * 255
    put(tmp_path, "a.png", np.repeat(board[..., None], 3, 2).astype(np.uint8))
    assert abs(only(tmp_path, 8).astype(int) - 127).max() <= 3


def test_a_16_bit_ramp_stays_a_ramp(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (256, 1))
    for name in ("a.png", "b.tiff"):
        put(tmp_path, name, ramp)
    for image in load_pictures(tmp_path, 256).images:
        assert np.array_equal(image, np.repeat((ramp // 257)[..., None], 3, 2))


def test_alpha_hides_the_colours_below_it(tmp_path):
    pixels = np.dstack([noise(), np.zeros((24, 24), np.uint8)])
    pixels[:12, :, 3] = 255
    put(tmp_path, "a.png", pixels)
    assert np.array_equal(only(tmp_path)[:12], pixels[:12, :, :3])
    assert (only(tmp_path)[12:] == 255).all()


def test_a_palette_s_transparent_entry_is_white(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    put(tmp_path, "a.png", image, transparency=1)
    assert only(tmp_path, 8)[0, :2].tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("1", "png"), ("CMYK", "jpg"), ("LA", "png"), ("P", "bmp")])
def test_every_mode_becomes_rgb(tmp_path, mode, suffix):
    put(tmp_path, f"a.{suffix}", Image.new("RGB", (16, 16), "white").convert(mode))
    assert (only(tmp_path, 16) >= 250).all()


def test_an_animation_is_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (only(tmp_path, 8) == [255, 0, 0]).all()


def test_content_counts_and_not_the_suffix(tmp_path):
    for name in ("a.jpg", "b.txt", "c"):
        put(tmp_path, name, format="PNG")
    put(tmp_path, "d.dat", format="BMP")
    assert load_pictures(tmp_path, 24).names == ("a.jpg", "b.txt", "c", "d.dat")


def test_other_files_are_skipped_with_a_reason(tmp_path):
    put(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "notes.txt").write_text("BM is how this begins")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    pictures = load_pictures(tmp_path, 24)
    assert pictures.names == ("a.png",)
    assert dict(pictures.skipped) == {
        ".DS_Store": "hidden",
        "._a.png": "hidden",
        "notes.txt": "not a picture",
        "empty.txt": "not a picture",
        "more": "a folder",
        "phone.jpg": "HEIC is not supported, save it as JPEG or PNG",
    }


@pytest.mark.parametrize(
    "name",
    "cat-masklabel.png cat-condlabel.png CAT_MASK.PNG cat.mask.png cat_mask_0.png mask_cat.png cat.jpg_mask.png "
    "cat-depth.jpg phone_mask.png".split(),
)
def test_a_mask_beside_its_picture_is_not_learned(tmp_path, name):
    put(tmp_path, "cat.jpg")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    put(tmp_path, name)
    pictures = load_pictures(tmp_path, 24)
    assert pictures.names == ("cat.jpg",)
    owner = "phone.heic" if "phone" in name else "cat.jpg"
    assert dict(pictures.skipped)[name] == f"a mask or a map of {owner}"


@pytest.mark.parametrize("name", ["red_mask.jpg", "mask.png", "mask_1.jpg", "catmask.jpg", "cat_in_a_mask.jpg"])
def test_a_picture_of_a_mask_is_learned(tmp_path, name):
    put(tmp_path, "cat.jpg")
    put(tmp_path, name)
    assert load_pictures(tmp_path, 24).names == tuple(sorted(["cat.jpg", name]))


def test_what_cannot_be_read_is_named(tmp_path):
    put(tmp_path)
    (tmp_path / "b.jpg").write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n")
    (tmp_path / "c.psd").write_bytes(b"8BPS\0\1")
    (tmp_path / "P6.txt").write_text("P6 is what a map begins with")
    reasons = dict(load_pictures(tmp_path, 24).skipped)
    assert reasons["b.jpg"].startswith("JPEG XL") and reasons["c.psd"].startswith("Photoshop")
    assert reasons["P6.txt"] == "not a picture"


def truncated_jpeg(path):
    Image.fromarray(noise(200, 200)).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:5000])


def truncated_png(path):
    Image.fromarray(noise(200, 200)).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("name", "break_it", "message"),
    [
        ("b.jpg", lambda path: path.touch(), "is empty"),
        ("b.jpg", lambda path: path.write_text("<html>404</html>"), "named like a picture but holds none"),
        ("b.jpg", lambda path: path.write_bytes(b"\xff\xd8\xff\xe0nothing more"), "JPEG that cannot be decoded"),
        ("b.jpg", truncated_jpeg, "JPEG that cannot be decoded"),
        ("b.jpg", truncated_png, "PNG that cannot be decoded"),
        ("b", truncated_png, "PNG that cannot be decoded"),
    ],
)
def test_a_broken_picture_is_an_error_that_names_it(tmp_path, name, break_it, message):
    put(tmp_path)
    break_it(tmp_path / name)
    with pytest.raises(ValueError, match=message) as caught:
        load_pictures(tmp_path, 24)
    assert str(tmp_path / name) in str(caught.value)


def test_a_folder_without_pictures_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"no pictures in .*it is empty.*Put 3 to 5 pictures"):
        load_pictures(tmp_path, 24)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"no pictures in .*notes\.txt: not a picture.*Put 3 to 5"):
        load_pictures(tmp_path, 24)
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere.*Put 3 to 5"):
        load_pictures(tmp_path / "nowhere", 24)
    with pytest.raises(ValueError, match="is a file: set images to the folder"):
        load_pictures(tmp_path / "notes.txt", 24)


def test_a_picture_that_must_be_enlarged_much_is_reported(tmp_path, caplog):
    put(tmp_path)
    with caplog.at_level(logging.WARNING):
        load_pictures(tmp_path, 48)
        assert not caplog.records
        load_pictures(tmp_path, 64)
    assert "a.png has only 24 x 24 pixels and is enlarged to 64 x 64" in caplog.text


def test_what_is_no_picture_has_no_kind():
    assert [kind_of(head) for head in (b"", b"BM is text, you see", b"\0\0\0\x14ftypqt  ", b"RIFF1234WAVE")] == [
        None
    ] * 4
