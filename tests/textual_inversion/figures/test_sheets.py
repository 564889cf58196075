import numpy as np
import pytest
from PIL import Image

from textual_inversion.figures.sheets import PictureRow, contact_sheet, save_sheet

SIDE = 32


def pictures(count, side=SIDE):
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def holds(sheet, picture):
    """Return whether the sheet contains the image, pixel for pixel."""
    inside = np.lib.stride_tricks.sliding_window_view(np.asarray(sheet), picture.shape)[:, :, 0]
    candidates = np.argwhere((inside[:, :, 0, 0] == picture[0, 0]).all(axis=-1))
    return any((inside[y, x] == picture).all() for y, x in candidates)


def test_every_picture_of_every_row_is_on_the_sheet():
    rows = [
        PictureRow("training pictures", pictures(3)),
        PictureRow("over the steps", pictures(5), [f"step {i}" for i in range(5)]),
    ]
    sheet = contact_sheet(rows, side=SIDE)
    assert all(holds(sheet, picture) for row in rows for picture in row.images)
    assert not holds(sheet, pictures(1)[0])


def test_titles_and_captions_are_written_and_take_no_room_from_pictures():
    images = pictures(4)
    plain, titled = (
        contact_sheet([PictureRow("", images)], side=SIDE),
        contact_sheet([PictureRow("on the moon", images)], side=SIDE),
    )
    assert plain.size == titled.size and plain.tobytes() != titled.tobytes()
    captioned = contact_sheet([PictureRow("", images, list("abcd"))], side=SIDE)
    assert captioned.height > plain.height and all(holds(captioned, picture) for picture in images)


@pytest.mark.parametrize("title", ["חתול on the moon", "🐱 and <cat-toy>", "a very long title " * 20])
def test_any_placeholder_may_stand_in_a_title(title):
    """It makes a sheet wider at most; the pictures stay where they are."""
    titled, plain = (np.asarray(contact_sheet([PictureRow(t, pictures(1))], side=SIDE)) for t in (title, ""))
    assert len(titled) == len(plain) and titled.shape[1] >= plain.shape[1]
    below = len(plain) - SIDE - 16  # the picture, a gap and the margin
    assert np.array_equal(titled[below:, : plain.shape[1]], plain[below:])


def test_pictures_of_any_side_are_brought_to_one():
    sizes = {contact_sheet([PictureRow("", pictures(1, side))], side=SIDE).size for side in (16, SIDE, 64)}
    assert len(sizes) == 1


def test_an_interrupted_write_leaves_the_old_sheet(tmp_path, monkeypatch):
    path = tmp_path / "new" / "sheet.png"
    save_sheet(path, [PictureRow("", pictures(1))])
    before = path.read_bytes()
    with Image.open(path) as image:
        assert image.format == "PNG"

    def half(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="disk full"):
        save_sheet(path, [PictureRow("", pictures(2))])
    assert path.read_bytes() == before


def test_a_long_title_of_a_narrow_sheet_is_whole():
    title = '"a photo of <cat-toy> next to a mug on a wooden table"'
    narrow, wide = (np.asarray(contact_sheet([PictureRow(title, pictures(n))], side=SIDE)) for n in (1, 30))
    columns = np.nonzero(wide[:34].min(axis=-1) < 250)[1]  # of the title's pixels
    end = columns.max() + 1
    assert end + 12 <= narrow.shape[1] and (narrow[:34, :end] == wide[:34, :end]).all()
