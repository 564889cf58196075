"""Colours, formats and sizes of single image files."""

import logging
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from launch.benchmarks.process import in_new_process, peak_memory
from ldm.errors import UserError
from textual_inversion import picture_file
from textual_inversion.picture_file import read_square

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
# Primaries as published: Display P3 (SMPTE RP 431-2 with D65 and sRGB's curve), Adobe RGB (1998; gamma 563/256).
WIDE = {
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), None),
    "Adobe RGB": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256),
}


def xyz(x, y):
    return np.array([x / y, 1.0, (1 - x - y) / y])


def to_xyz(primaries):
    """Return the matrix from linear RGB to XYZ under D65."""
    columns = np.stack([xyz(*primary) for primary in primaries], axis=1)
    return columns * np.linalg.solve(columns, xyz(*D65))


def linear(values, gamma=None):
    curve = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return curve if gamma is None else values**gamma


def encoded(values):
    values = values.clip(0, 1)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def expected_srgb(pixels, primaries, gamma):
    """Convert uint8 pixels [.., 3] to sRGB by the definition of both spaces."""
    matrix = np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)
    return 255 * encoded(linear(pixels / 255, gamma) @ matrix.T)


def number(value):
    return struct.pack(">i", round(value * 65536))


def profile_of(primaries, gamma):
    """Return an ICC profile of version 2 for display colours with these primaries (ICC.1:2001, matrices under D50)."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = (bradford @ D50) / (bradford @ xyz(*D65))
    adapted = np.linalg.inv(bradford) @ np.diag(scale) @ bradford @ to_xyz(primaries)
    table = linear(np.linspace(0, 1, 1024)) if gamma is None else None
    if table is None:
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    else:
        curve = b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.round(table * 65535).astype(int))
    tags = {b"wtpt": b"XYZ " + bytes(4) + b"".join(map(number, D50))}
    for name, column in zip("rgb", adapted.T, strict=True):
        tags[f"{name}XYZ".encode()] = b"XYZ " + bytes(4) + b"".join(map(number, column))
        tags[f"{name}TRC".encode()] = curve
    table_of_tags, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table_of_tags += name + struct.pack(">II", start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    body = table_of_tags + content
    head = struct.pack(">I4sI", 128 + len(body), bytes(4), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    return head.ljust(68, b"\0") + b"".join(map(number, D50)) + bytes(48) + body


def inside_of_srgb():
    """Return colours [8, 8, 3] that sRGB can show."""
    return np.random.default_rng(0).integers(60, 200, (8, 8, 3), np.uint8)


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_colours_are_those_that_the_profile_names(tmp_path, name, suffix):
    pixels = inside_of_srgb()
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", icc_profile=profile_of(*WIDE[name]), **options)
    found = np.asarray(read_square(tmp_path / f"a.{suffix}", 8)).astype(float)
    expected = expected_srgb(pixels, *WIDE[name])
    assert abs(found - expected).max() <= 1.5
    assert abs(pixels - expected).max() > 15


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_the_profile_is_applied_in_every_mode(tmp_path, mode):
    color = (200, 90, 60)
    image = Image.new("RGB", (8, 8), color).convert(
        mode, **({"palette": Image.Palette.ADAPTIVE} if mode == "P" else {})
    )
    image.save(tmp_path / "a.png", icc_profile=profile_of(*WIDE["Adobe RGB"]))
    expected = expected_srgb(np.array(image.convert("RGB").getpixel((0, 0))), *WIDE["Adobe RGB"])
    assert abs(np.array(read_square(tmp_path / "a.png", 8).getpixel((0, 0))) - expected).max() <= 1.5


def test_pixels_in_srgb_stay_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(read_square(tmp_path / "a.png", 8), pixels)


@pytest.mark.parametrize(
    ("mode", "profile", "reason"),
    [("RGB", b"no profile", "cannot open profile"), ("CMYK", profile_of(*WIDE["Display P3"]), "it is for RGB")],
)
def test_a_profile_that_cannot_be_used_is_named(tmp_path, caplog, mode, profile, reason):
    Image.new(mode, (8, 8)).save(tmp_path / "a.tiff", icc_profile=profile)
    with caplog.at_level(logging.WARNING):
        found = read_square(tmp_path / "a.tiff", 8)
    assert found.getpixel((0, 0)) == Image.new(mode, (8, 8)).convert("RGB").getpixel((0, 0))
    assert f"a.tiff cannot be used ({reason}" in caplog.text


def test_a_camera_s_adobe_rgb_without_a_profile_is_named(tmp_path, caplog):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", exif=exif, icc_profile=profile_of(*WIDE["Adobe RGB"]))
    with caplog.at_level(logging.WARNING):
        read_square(tmp_path / "b.jpg", 8)
        assert not caplog.records
        read_square(tmp_path / "a.jpg", 8)
    assert "a.jpg is in Adobe RGB but holds no colour profile" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("jp2", {"irreversible": False}), ("j2k", {"irreversible": False}), ("ppm", {}), ("tga", {}), ("TGA", {})],
)
def test_old_and_rare_formats_are_read(tmp_path, suffix, options):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **options)
    assert np.array_equal(read_square(tmp_path / f"a.{suffix}", 24), pixels)


def test_a_grey_map_of_16_bits_stays_a_ramp(tmp_path):
    ramp = np.tile(np.arange(256, dtype=">u2") * 257, (256, 1))
    (tmp_path / "a.pgm").write_bytes(b"P5\n256 256\n65535\n" + ramp.tobytes())
    assert np.array_equal(read_square(tmp_path / "a.pgm", 256), np.repeat((ramp // 257)[..., None], 3, 2))


def bomb_png():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 170_000_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


BOMBS = {
    "gif": b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "png": bomb_png(),
    "ppm": b"P6 65000 65000 255\n",
    "tga": bytes([0, 0, 10]) + bytes(9) + b"\xff\xff\xff\xff\x18\0" + b"\xff\0\0\0",
}


@pytest.mark.parametrize("suffix", BOMBS)
def test_a_small_file_with_many_pixels_is_refused(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(BOMBS[suffix])
    with pytest.raises(UserError, match=rf"a\.{suffix} has \d+ x \d+ pixels; at most .* save it smaller\.$"):
        read_square(tmp_path / f"a.{suffix}", 24)


def test_a_jpeg_over_the_budget_is_read_small_and_others_are_refused(tmp_path, monkeypatch):
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((864, 608), Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.webp")
    image.save(tmp_path / "raw.ppm")
    whole = np.asarray(read_square(tmp_path / "a.jpg", 32)).astype(int)
    monkeypatch.setattr(picture_file, "PIXELS", 108 * 76)  # an eighth of both sides
    assert abs(read_square(tmp_path / "a.jpg", 32) - whole).max() <= 4
    assert abs(read_square(tmp_path / "raw.ppm", 32) - whole).max() <= 8  # it has as many bytes as pixels
    with pytest.raises(UserError, match=r"a\.webp has 864 x 608 pixels"):
        read_square(tmp_path / "a.webp", 32)
    with pytest.raises(UserError, match=r"a\.jpg has 864 x 608 pixels"):
        read_square(tmp_path / "a.jpg", 400)  # half of it would have to be enlarged
    monkeypatch.setattr(picture_file, "JPEG_PIXELS", 864 * 608 - 1)
    with pytest.raises(UserError, match=r"a\.jpg has 864 x 608 pixels"):
        read_square(tmp_path / "a.jpg", 32)


def test_a_large_photograph_is_read_without_a_word_of_pillow(tmp_path, recwarn):
    Image.new("L", (9500, 9500), 90).save(tmp_path / "a.jpg", quality=50)
    limit = Image.MAX_IMAGE_PIXELS
    assert read_square(tmp_path / "a.jpg", 64).getpixel((5, 5)) == (90, 90, 90)
    assert not recwarn.list and limit == Image.MAX_IMAGE_PIXELS


LARGE_FILES = {
    "a.png": ("RGB", {}), "b.png": ("RGBA", {}), "c.png": ("L", {}), "d.png": ("LA", {}), "e.png": ("P", {}),
    "f.tif": ("CMYK", {"compression": "tiff_lzw"}), "g.bmp": ("RGB", {}), "h.png": ("I;16", {}), "i.jpg": ("RGB", {}),
    "j.webp": ("RGBA", {"lossless": True}), "k.ppm": ("RGB", {}), "l.gif": ("P", {}), "m.tif": ("RGB", {}),
}  # fmt: skip


@pytest.mark.parametrize("size", [16, 40, 300])
@pytest.mark.parametrize("name", LARGE_FILES)
def test_a_large_picture_looks_as_a_small_one(tmp_path, monkeypatch, name, size):
    mode, options = LARGE_FILES[name]
    coarse = np.random.default_rng(0).integers(40, 216, (5, 7, 4), np.uint8)
    image = Image.fromarray(coarse, "RGBA").resize((431, 310), Image.Resampling.BICUBIC)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert("RGB").convert(mode) if mode in ("P", "CMYK", "L") else image.convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / name, exif=exif, **options)
    at_once = np.asarray(read_square(tmp_path / name, size)).astype(int)
    monkeypatch.setattr(picture_file, "LARGE", 431 * 310 - 1)
    monkeypatch.setattr(picture_file, "STRIP", 431 * 40)
    off = abs(np.asarray(read_square(tmp_path / name, size)) - at_once)
    assert off.max() <= (24 if mode == "P" else 4) and off.mean() < 1.0


def memory_of_reading(path):
    """Return the bytes by which the peak of this process rises when it reads the file."""
    Image.new("RGB", (9, 9)).save(path.with_name(f"small{path.suffix}"))
    read_square(path.with_name(f"small{path.suffix}"), 8)  # loads the decoder
    before = peak_memory()
    read_square(path, 512)
    return peak_memory() - before


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGB"), ("b.png", "RGBA"), ("c.tif", "RGB"), ("d.gif", "P")])
def test_a_picture_of_48_megapixels_takes_little_memory(tmp_path, name, mode):
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((8000, 6000), Image.Resampling.BILINEAR).convert(mode)
    options = {"a.png": {"compress_level": 1}, "b.png": {"compress_level": 1}, "c.tif": {"compression": "tiff_lzw"}}
    image.save(tmp_path / name, **options.get(name, {}))
    taken = in_new_process(memory_of_reading, tmp_path / name)
    assert 40e6 < taken < 200e6 + 3 * (tmp_path / name).stat().st_size
