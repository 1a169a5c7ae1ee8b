"""Folders as they are found: each is refused by name, or read by a stated rule."""

import contextlib
import os
import shutil
import socket
import zipfile

import numpy as np
import pytest
from PIL import Image

import batchmix as bm
from batchmix.cli.lab.data import open_data, sounds
from batchmix.cli.lab.split import checked
from batchmix.cli.show.opened import open_source
from made_files import png, tiff, wav

GREY = np.arange(64).reshape(8, 8) * 1000


def put(name, content):
    """Writes a file into the folder."""

    def spoil(top):
        path = top / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return spoil


def copied(name, of="red/0.png"):
    """A good image under another name."""
    return lambda top: put(name, (top / of).read_bytes())(top)


def cut(name, size):
    """A file that ends too early."""
    return lambda top: (top / name).write_bytes((top / name).read_bytes()[:size])


def several(*spoils):
    return lambda top: [spoil(top) for spoil in spoils]


def longer(top):
    with (top / "red" / "0.png").open("ab") as file:
        file.write(b"more")


def linked(name, to):
    return lambda top: (top / name).symlink_to(to)


def renamed(name):
    """A class under another name."""
    return lambda top: (top / "red").rename(top / name)


def saved(name, image, **options):
    return lambda top: image.save(top / name, **options)


def archive(top):
    with zipfile.ZipFile(top / "red" / "more.zip", "w") as file:
        file.writestr("bomb.bin", bytes(10_000))


def bound(top):
    """A socket."""
    # paths of sockets are short
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(top / "red"):
        made.bind("s.png")


def parts(*names):
    """The classes, moved into parts."""

    def spoil(top):
        classes = [p.name for p in top.iterdir()]
        for part in names:
            for name in classes:
                shutil.copytree(top / name, top / part / name)
        for name in classes:
            shutil.rmtree(top / name)

    return spoil


def wrong_sum(top):
    content = bytearray((top / "red" / "0.png").read_bytes())
    content[-20] ^= 255  # in the pixels
    (top / "red" / "0.png").write_bytes(content)


# 65535 x 65535, of one colour
GIF = b"GIF89a" + b"\xff" * 4 + b"\x80\0\0" + bytes(6) + b"," + bytes(4) + b"\xff" * 4
GIF += b"\0\x02\x02\x44\x01\0;"
RGB = Image.new("RGB", (8, 8), (9, 99, 199))


def folder_in_folder(top):
    (top / "all" / "a").mkdir(parents=True)


# the one bad file in a good folder; what the refusal says
REFUSED = {
    "float TIFF": (put("red/x.tif", tiff(GREY / 64000, "f4", 3)), "x.tif: its pixels are float"),
    "double TIFF": (put("red/x.tif", tiff(GREY / 64000, "f8", 3)), "red/x.tif: the image cannot"),
    "32-bit TIFF": (put("red/x.tif", tiff(GREY, "u4")), "red/x.tif: its pixels are 32-bit"),
    "signed TIFF": (put("red/x.tif", tiff(GREY, "i2", 2)), "red/x.tif: its pixels are signed"),
    "signed bytes": (put("red/x.tif", tiff(GREY // 999, "i1", 2)), "red/x.tif: its pixels are si"),
    "a bomb of 50k": (put("red/b.png", png([[0]], size=(50_000, 50_000))), "red/b.png: it has 25"),
    "a bomb of 13k": (put("red/b.png", png([[0]], size=(13_000, 13_000))), "13000 x 13000 pixels"),
    "one row of 10^9": (put("red/b.png", png([[0]], size=(2**30, 1))), "red/b.png: it has"),
    "a bomb as a GIF": (put("red/b.gif", GIF), "red/b.gif: it has"),
    "empty": (put("red/0.png", b""), "red/0.png: the image cannot be decoded"),
    "zeros": (put("red/0.png", bytes(999)), "red/0.png: the image cannot be decoded"),
    "text": (put("red/0.png", b"see the other folder\n"), "red/0.png: the image cannot be decoded"),
    "HTML": (put("red/0.jpg", b"<html>404</html>"), "red/0.jpg: the image cannot be decoded"),
    "SVG": (put("red/0.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "red/0.png: the image"),
    "PostScript": (put("red/0.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"), "red/0.png: the image cannot"),
    "pickle": (put("red/0.png", b"\x80\x04cposix\nsystem\n."), "red/0.png: the image cannot"),
    "a git-lfs pointer": (put("red/0.png", b"version https://git-lfs.github.com/"), "red/0.png"),
    "an icon": (saved("red/x.png", RGB, format="ICO"), "red/x.png: the image cannot be decoded"),
    "a header alone": (cut("red/0.png", 33), "red/0.png: the image cannot be decoded"),
    "truncated PNG": (cut("red/0.png", 120), "red/0.png: the image cannot be decoded (image"),
    "truncated JPEG": (
        several(saved("red/x.jpg", RGB), cut("red/x.jpg", 400)), "red/x.jpg: the image cannot"
    ),
    "truncated GIF": (several(saved("red/x.gif", RGB), cut("red/x.gif", 30)), "red/x.gif: the im"),
    "truncated TIFF": (several(saved("red/x.tif", RGB), cut("red/x.tif", 90)), "red/x.tif: the im"),
    "truncated WebP": (several(saved("red/x.webp", RGB), cut("red/x.webp", 30)), "red/x.webp: the"),
    "truncated BMP": (several(saved("red/x.bmp", RGB), cut("red/x.bmp", 60)), "red/x.bmp: the im"),
    "truncated PPM": (several(saved("red/x.ppm", RGB), cut("red/x.ppm", 60)), "red/x.ppm: the im"),
    "a wrong checksum": (wrong_sum, "red/0.png: the image cannot be decoded"),
    "no width": (put("red/x.png", png([[0]], size=(0, 8))), "red/x.png: the image cannot be"),
    "a colour type that is none": (put("red/x.png", png(GREY // 999, 8, 5)), "red/x.png: the ima"),
    "a broken link": (linked("red/x.png", "nowhere.png"), "red/x.png: the image cannot be decoded"),
    "a circular link": (linked("red/x.png", "x.png"), "red/x.png: the image cannot be decoded (To"),
    "an escape in a name": (put("red/\x1b]0;title\x07.png", b""), r"red/\x1b]0;title\x07.png"),
    "a newline in a name": (put("red/a\nb.png", b""), r"red/a\nb.png: the image cannot be decoded"),
    "a name that is not UTF-8": (put(b"red/\xff.png", b""), r"red/\udcff.png: the image cannot be"),
}  # fmt: skip
# what is done to a good folder that no skipping mends
UNFIT = {
    "an empty class": (lambda top: (top / "new").mkdir(), "new: the class folder holds no image"),
    "a class of other files": (put("new/a.txt", b""), "new: the class folder holds no image"),
    "a class of sounds": (put("new/a.wav", wav()), "new: the class folder holds no image"),
    "a class of pictures of phones": (put("new/a.heic", b""), "holds no image (bmp, gif, jpeg, "),
    "a folder too high": (folder_in_folder, "pass a folder that holds train/CLASS/*"),
    "a class of itself": (linked("new", "."), "new: the class folder holds no image"),
    "a class above": (linked("new", "../.."), "new: the class folder holds no image"),
    "one class": (lambda top: shutil.rmtree(top / "red"), "there is one class only, 'blue'"),
    "no class": (
        lambda top: [shutil.rmtree(top / name) for name in ("red", "blue")],
        "it holds no class folders",
    ),
    "train is empty": (lambda top: (top / "train").mkdir(), "train: it holds no class folders"),
    "flat": (
        lambda top: [
            [f.rename(top / f"{c}{f.name}") for f in (top / c).iterdir()] + [(top / c).rmdir()]
            for c in ("red", "blue")
        ],
        "16 files and no class folders",
    ),
    "a class in test alone": (
        several(parts("train", "test"), copied("test/new/0.png", "test/red/0.png")),
        "test/new: there is no such class in train",
    ),
    "val twice": (parts("train", "val", "valid"), "valid: 'val' beside it is the same part"),
}  # fmt: skip
# what is done; how many rows there are then, and a note
READ = {
    "16 bits": (put("red/x.png", png(GREY, 16)), 17, ""),
    "16 bits of colour": (put("red/x.png", png(np.stack([GREY] * 3, -1), 16, 2)), 17, ""),
    "16-bit TIFF": (put("red/x.tif", tiff(GREY, "u2", order=">")), 17, ""),
    "CMYK": (saved("red/x.jpg", RGB.convert("CMYK")), 17, ""),
    "alpha": (saved("red/x.png", RGB.convert("RGBA")), 17, ""),
    "grey": (saved("red/x.png", RGB.convert("L")), 17, ""),
    "palette": (saved("red/x.png", RGB.convert("P")), 17, ""),
    "black and white": (saved("red/x.png", RGB.convert("1")), 17, ""),
    "an animation": (
        saved("red/x.gif", RGB, save_all=True, append_images=[Image.new("RGB", (8, 8))]),
        17,
        "1 images have several frames: the first is read",
    ),
    "another suffix": (copied("red/x.jpg"), 17, ""),
    "a suffix in capitals": (copied("red/X.PNG"), 17, ""),
    "bytes behind the end": (longer, 16, ""),
    "another size": (saved("red/x.png", Image.new("RGB", (9, 7))), 17, ""),
    "one pixel": (saved("red/x.png", Image.new("RGB", (1, 1))), 17, ""),
    "one row": (saved("red/x.png", Image.new("RGB", (20_000, 1))), 17, ""),
    "metadata.csv": (put("red/metadata.csv", b"file_name,text\n"), 16, "1 files of other kinds"),
    "metadata.jsonl": (put("metadata.jsonl", b"{"), 16, "1 files of other kinds"),
    "an archive": (archive, 16, "1 files of other kinds"),
    "no suffix": (copied("red/x"), 16, "1 files of other kinds"),
    "a sound": (put("red/x.wav", wav()), 16, "1 files of other kinds"),
    "hidden": (copied("red/.x.png"), 16, "1 hidden"),
    "only a suffix": (copied("red/.png"), 16, "1 hidden"),
    "a hidden class": (copied(".git/x.png"), 16, "1 hidden"),
    "an image beside the classes": (copied("x.png"), 16, "1 files beside the class folders"),
    "a nested folder": (copied("red/in/x.png"), 16, "1 folders inside class folders"),
    "a folder named as an image": (copied("red/x.png/x.png"), 16, "1 folders inside class folders"),
    "a folder beside the parts": (
        several(parts("train", "test"), copied("more/x.png", "test/red/0.png")),
        32,
        "1 folders that are no part",
    ),
    "a pipe": (lambda top: os.mkfifo(top / "red" / "x.png"), 16, "1 pipes, sockets or devices"),
    "a link to a pipe": (
        several(lambda top: os.mkfifo(top / "p"), linked("red/x.png", "../p")), 16, "2 pipes"
    ),
    "a link to a device": (linked("red/x.png", "/dev/zero"), 16, "1 pipes, sockets or devices"),
    "a socket": (bound, 16, "1 pipes, sockets or devices"),
    "a link": (linked("red/x.png", "0.png"), 17, ""),
    "a class that is a link": (linked("pink", "red"), 24, ""),
    "a broken link of another kind": (linked("red/x.txt", "nowhere"), 16, "1 broken links"),
    "a variable": (renamed("$HOME"), 16, ""),
    "braces": (renamed("{}"), 16, ""),
    "a pattern": (renamed("[r]*?"), 16, ""),
    "a formula": (renamed("a$\\x$"), 16, ""),
    "a dash": (renamed("--out"), 16, ""),
    "markup": (renamed("<script>alert(1)<"), 16, ""),
    "a class that is not UTF-8": (renamed(os.fsdecode(b"\xff\xfe")), 16, ""),
    "an escape in a class": (renamed("\x1b]0;title\x07"), 16, ""),
    "a file that is not UTF-8": (copied(b"red/\xff.png"), 17, ""),
    "a long name": (copied("red/" + "x" * 251 + ".png"), 17, ""),
    "a variable in a file": (copied("red/$HOME.png"), 17, ""),
    "a member of an archive": (copied("red/zip:::x.png"), 17, ""),
}  # fmt: skip


@pytest.fixture
def folder(images):
    return images("data", ("blue", "red"))


def names_of(data):
    return [name for part in (data.train, data.val, data.test) if part for name in part.names]


@pytest.mark.parametrize("kind", REFUSED | UNFIT)
def test_a_folder_that_is_refused(folder, kind):
    spoil, says = (REFUSED | UNFIT)[kind]
    spoil(folder)
    with pytest.raises(bm.MixError) as error:
        checked(open_data(str(folder)), [0], None)
    text = str(error.value)
    assert says in text
    assert " ".join(text.splitlines()).isprintable()
    with contextlib.suppress(bm.MixError):  # nothing else comes of looking at it
        source = open_source(str(folder), image_size=8)
        source.read(source.choose(17))


@pytest.mark.parametrize("kind", REFUSED)
def test_its_one_bad_file_can_be_skipped(folder, kind):
    REFUSED[kind][0](folder)
    data = checked(open_data(str(folder)), [0], None, skip_bad=True)
    assert len(data.skipped) == 1
    assert data.skipped[0][0] in names_of(data)
    assert data.skipped[0][1].isprintable()


@pytest.mark.parametrize("kind", READ)
def test_a_folder_that_is_read(folder, kind):
    spoil, rows, note = READ[kind]
    spoil(folder)
    listed = open_data(str(folder))
    data = checked(listed, [0], None)
    assert len(names_of(data)) == rows
    assert note in " ".join(data.notes)
    assert bool(note) == bool(data.notes)
    assert all(name.isprintable() for name in data.task.names)
    assert checked(listed, [0], None, pixels=False).shape == data.shape
    for part in (data.train, data.test):
        for i in range(len(part or ())):
            assert part[i].std() > 0 or part[i].shape != (8, 8, 3) or kind in FLAT
    source = open_source(str(folder), image_size=8)
    assert source.read(source.choose(rows)).shape == (len(data.train), 8, 8, 3)


FLAT = {"CMYK", "alpha", "grey", "palette", "black and white"}  # of one colour as they were made


def test_a_folder_or_a_file_that_may_not_be_opened(folder, monkeypatch):
    scan = os.scandir

    def guarded(path):
        if str(path).endswith("red"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", guarded)
        with pytest.raises(bm.MixError, match=r"red: the folder cannot be opened \(Permission"):
            open_data(str(folder))

    def denied(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    data = open_data(str(folder))
    monkeypatch.setattr(Image, "open", denied)
    with pytest.raises(bm.MixError, match=r"blue/0\.png: .* cannot be decoded \(Permission denied"):
        checked(data, [0], None)
    monkeypatch.setattr(sounds.Path, "open", denied)
    with pytest.raises(bm.MixError, match=r"x\.wav: .* cannot be decoded \(Permission denied\)"):
        sounds.read_header(str(folder / "x.wav"))


def test_a_file_that_goes_away(folder):
    data = checked(open_data(str(folder)), [0], None)
    (folder / "red" / "0.png").unlink()
    with pytest.raises(bm.MixError, match=r"red/0\.png: .* \(No such file or directory\)"):
        data.train[data.train.names.index("red/0.png")]


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "\x1b]0;t\x07", "\udcff", "~nobody/x"])
def test_names_of_data_that_nothing_has(name):
    with pytest.raises(bm.MixError, match="is not a folder") as error:
        open_data(name)
    text = str(error.value)
    assert len(text) < 500
    assert " ".join(text.splitlines()).isprintable()
