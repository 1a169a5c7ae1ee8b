"""How images of every kind are read."""

import io

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli.lab.data.images import MOST_PIXELS, check_image, read_image
from made_files import png, tiff

GREY = np.array([[0, 1, 300, 1000], [2000, 30000, 65000, 65535]])
SCALED = np.round(GREY / 257).astype(np.uint8)
MARK = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)  # no two of its turns are alike
TURNED = {
    1: MARK, 2: MARK[:, ::-1], 3: MARK[::-1, ::-1], 4: MARK[::-1], 5: MARK.T,
    6: np.rot90(MARK, -1), 7: MARK[::-1, ::-1].T, 8: np.rot90(MARK),
}  # fmt: skip


def read(content):
    """The image as it is read; its header promises the same shape."""
    x = read_image(io.BytesIO(content), "a file")
    assert check_image(io.BytesIO(content), "a file", pixels=False).shape == x.shape
    assert (x.dtype, x.ndim, x.shape[2]) == (np.uint8, 3, 3)
    return x


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        png(GREY, 16),
        tiff(GREY, "u2"),
        tiff(GREY, "u2", order=">"),
        tiff(65535 - GREY, "u2", photometric=0),
        saved(Image.fromarray(GREY.astype(np.uint16)), "TIFF"),
        b"P5\n4 2\n65535\n" + GREY.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff", "big-endian", "white is zero", "tiff by Pillow", "pgm"],
)
def test_16_bits_are_scaled_by_their_depth(content):
    assert (read(content) == SCALED[..., None]).all()


def test_a_pgm_of_10_bits_is_scaled_by_its_white():
    content = b"P5\n4 1\n1023\n" + np.array([0, 256, 512, 1023], ">u2").tobytes()
    assert read(content)[0, :, 0].tolist() == [0, 64, 128, 255]


def test_a_tiff_of_12_bits_is_scaled_by_its_depth():
    content = tiff([[0xFF, 0xF8, 0x00]], "u1", bits=12)  # 4095 and 2048, three bytes
    content = content.replace(b"\0\1\4\0\1\0\0\0\3\0\0\0", b"\0\1\4\0\1\0\0\0\2\0\0\0", 1)
    assert read(content)[0, :, 0].tolist() == [255, 128]


@pytest.mark.parametrize(
    "content",
    [
        png(np.stack([GREY] * 3, -1), 16, 2),
        tiff(np.stack([GREY] * 3, -1), "u2"),
        tiff(np.stack([GREY] * 3, -1), "u2", order=">"),
    ],
    ids=["png", "tiff", "big-endian"],
)
def test_16_bits_of_colour_are_their_high_byte(content):
    assert (read(content) == (GREY >> 8)[..., None]).all()


def test_16_bits_with_alpha_lie_on_white():
    grey = np.stack([GREY, np.full_like(GREY, 65535)], -1)
    assert (read(png(grey, 16, 4)) == (GREY >> 8)[..., None]).all()
    clear = np.stack([GREY] * 3 + [np.zeros_like(GREY)], -1)
    assert (read(png(clear, 16, 6)) == 255).all()
    content = saved(Image.fromarray(GREY.astype(np.uint16)), transparency=1000)
    assert (read(content)[..., 0] == np.where(GREY == 1000, 255, SCALED)).all()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tiff(GREY / 65535, "f4", 3), "its pixels are floating-point numbers"),
        (tiff(GREY / 65535, "f8", 3), "cannot be decoded"),
        (tiff(GREY - 9, "i2", 2), "its pixels are signed integers"),
        (tiff(GREY // 999, "i1", 2), "its pixels are signed integers"),
        (tiff(GREY, "i4", 2), "its pixels are 32-bit integers"),
        (tiff(GREY, "u4"), "its pixels are 32-bit integers"),
        (b"Pf\n1 1\n-1.0\n" + bytes(4), "its pixels are floating-point numbers"),
        (png([[0]], size=(9000, 9000)), "it has 9000 x 9000 pixels. Images of at most 64 million"),
        (png([[0]], size=(13000, 13000)), "it has 13000 x 13000 pixels"),
        (png([[0]], size=(50000, 50000)), "it has 2500000000 pixels"),
        (png([[0]], size=(0, 5)), "cannot be decoded"),
        (png([[0]], size=(64, 64)), "cannot be decoded (image file is truncated"),
        (saved(Image.effect_noise((64, 64), 90), "JPEG")[:900], "(image file is truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (b"", "no image that can be read"),
        (b"BM" + bytes(50), "Unsupported BMP header"),
    ],
)  # fmt: skip
def test_what_is_refused_by_name(content, says):
    with pytest.raises(bm.MixError) as error:
        read_image(io.BytesIO(content), "a\x1b]0;file")
    text = " ".join(str(error.value).split())
    assert text.startswith(r"DATA a\x1b]0;file: ")
    assert says in text


def test_many_pixels_are_refused_before_they_are_read(monkeypatch):
    def never(*_):
        raise AssertionError("pixels were read")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    side = int(MOST_PIXELS**0.5) + 1
    for content in (png([[0]], size=(side, side)), tiff(GREY / 9, "f4", 3), tiff(GREY, "i4", 2)):
        with pytest.raises(bm.MixError):
            read_image(io.BytesIO(content), "a file")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("turn", TURNED)
def test_images_are_turned_upright(turn, kind):
    exif = Image.Exif()
    exif[274] = turn
    big = Image.fromarray(MARK.repeat(8, 0).repeat(8, 1)).convert("RGB")
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    x = read(saved(big, kind, exif=exif, **options))
    assert np.abs(x[4::8, 4::8, 0].astype(int) - TURNED[turn]).max() < 3


def test_16_bits_are_turned_too():
    exif = Image.Exif()
    exif[274] = 6
    content = saved(Image.fromarray(GREY.astype(np.uint16)), exif=exif)
    assert (read(content)[..., 0] == np.rot90(SCALED, -1)).all()


def test_unreadable_exif_is_as_if_there_were_none():
    content = saved(Image.new("RGB", (9, 5)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read(content).shape == (5, 9, 3)


def test_what_is_transparent_lies_on_white():
    half = read(saved(Image.new("RGBA", (3, 2), (10, 20, 30, 128))))
    assert np.abs(half[0, 0].astype(int) - [132, 137, 142]).max() <= 1
    assert (read(saved(Image.new("LA", (3, 2), (10, 0)))) == 255).all()
    palette = Image.new("P", (3, 2))
    palette.putpalette([10, 20, 30])
    assert (read(saved(palette)) == [10, 20, 30]).all()
    for kind in ("PNG", "GIF"):
        assert (read(saved(palette, kind, transparency=0)) == 255).all()
    assert abs(int(read(saved(palette, transparency=b"\x80"))[0, 0, 0]) - 132) <= 1
    assert (read(saved(Image.new("L", (3, 2), 7), transparency=7)) == 255).all()
    assert (read(saved(Image.new("RGB", (3, 2), (7, 8, 9)), transparency=(7, 8, 9))) == 255).all()
    assert (read(saved(Image.new("1", (3, 2), 1))) == 255).all()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "RGB"])
def test_other_colours_are_converted(mode):
    red = Image.new("RGB", (16, 16), (250, 10, 10)).convert(mode)
    x = read(saved(red, "JPEG", quality=100))[8, 8].astype(int)
    assert np.abs(x - ([82] * 3 if mode == "L" else [250, 10, 10])).max() < 5


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_scaled_by_their_depth(bits):
    x = read(png([[0b01000000 if bits == 2 else 0xF0]], bits, size=(8 // bits, 1)))[0, :, 0]
    want = {1: [255] * 4 + [0] * 4, 2: [85, 0, 0, 0], 4: [255, 0]}
    assert x.tolist() == want[bits]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP", "MPO"])
def test_the_first_of_several_frames_is_read_and_they_are_counted(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(read(content)[8, 8].astype(int) - [255, 0, 0]).max() < 5
    remark = check_image(io.BytesIO(content), "a file", pixels=True).remark
    assert remark == "images have several frames: the first is read"
    assert not check_image(io.BytesIO(saved(frames[0], "GIF")), "a file", pixels=True).remark
