"""WAV files as waves and as log-mel spectrograms."""

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

import batchmix as bm
from batchmix.cli import main
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.data.mel import FLOOR, cells_of, filters, log_mel, shape
from batchmix.cli.lab.split import checked, split
from made_files import wav

TONE = np.sin(np.arange(1000) / 9) * 0.7


@pytest.fixture
def sounds(tmp_path):
    """A maker of two classes of eight WAV files of these contents."""

    def make(content, extra=None):
        for name in ("one", "two"):
            (tmp_path / "sounds" / name).mkdir(parents=True)
            for i in range(8):
                (tmp_path / "sounds" / name / f"{i}.wav").write_bytes(content)
        if extra is not None:
            (tmp_path / "sounds" / "two" / "2.wav").write_bytes(extra)
        return str(tmp_path / "sounds")

    return make


def bytes_of(bits, kind=1):
    """The tone as samples of a depth."""
    if kind == 3:
        return TONE.astype(f"<f{bits // 8}").tobytes()
    whole = np.round(TONE * 2 ** (bits - 1)).astype("<i4")
    if bits == 8:
        return (whole + 128).astype("u1").tobytes()
    return whole.view("u1").reshape(-1, 4)[:, : bits // 8].tobytes()


@pytest.mark.parametrize(("bits", "kind"), [(8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3)])
def test_every_depth_is_scaled(sounds, bits, kind):
    data = open_data(sounds(wav(bytes_of(bits, kind), bits=bits, kind=kind)), sound="wave")
    x = data.train[0]
    assert (x.shape, x.dtype) == ((1000, 1), np.int16 if bits < 24 else np.float32)
    scale = 32768 if bits < 24 else 1
    assert np.abs(x[:, 0] / scale - TONE).max() <= 2.0 ** (1 - min(bits, 24))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_samples_are_those_of_scipy(tmp_path, sounds, dtype):
    clip = np.stack([TONE, -TONE], 1) * (30000 if dtype == np.int16 else 1)
    folder = sounds(b"")
    for file in (tmp_path / "sounds").rglob("*.wav"):
        wavfile.write(file, 8000, clip.astype(dtype))
    assert (open_data(folder, sound="wave").train[5] == clip.astype(dtype)).all()


def test_extensible_headers_and_other_chunks_are_read(sounds):
    guid = struct.pack("<HHIH14s", 22, 16, 4, 1, bytes(14))
    content = wav(bytes_of(16), kind=0xFFFE, form=guid)
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    content = content[:12] + extra + content[12:]
    assert len(open_data(sounds(content), sound="wave").train[0]) == 1000


def test_clips_are_cut_or_followed_by_silence(sounds):
    folder = sounds(wav(bytes_of(16)), wav(bytes_of(16)[:800]))
    data = open_data(folder, sound="wave")
    assert data.notes == ("sounds last 0.12 s each, the median of the files",)
    assert (data.rate, data.seconds, data.form) == (8000, 0.125, "wave")
    assert not data.train[10][400:].any()
    assert data.train[10][399].any()
    short = checked(open_data(folder, sound="wave", seconds=0.05), [0], None)
    assert (short.shape, short.train[0].shape, short.notes) == ((400, 1), (400, 1), ())


def test_a_long_median_is_bounded_and_said(sounds):
    data = open_data(sounds(wav(bytes(2 * 100 * 30), rate=100)), sound="wave")
    assert data.seconds == 10
    assert data.notes == ("sounds last 10.00 s each, at most that without --seconds",)


def test_log_mel_is_the_default_and_checked_by_headers(sounds):
    data = open_data(sounds(wav(bytes_of(16))))
    assert data.form == "mel"
    for pixels in (False, True):
        assert checked(data, [0], None, pixels=pixels).shape == (64, 11, 1)
    assert (data.train[0].shape, data.train[0].dtype) == ((64, 11, 1), np.float32)
    stereo = np.repeat(np.frombuffer(bytes_of(16), np.int16), 2).tobytes()
    other = open_data(data.root)
    assert other.fingerprint == data.fingerprint
    assert open_data(data.root, sound="wave").fingerprint != data.fingerprint
    assert open_data(data.root, seconds=0.1).fingerprint != data.fingerprint
    Path(data.root, "two", "2.wav").write_bytes(wav(stereo, channels=2))
    assert np.allclose(open_data(data.root).train[10], data.train[0], atol=1e-4)  # mono


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 22050, 44100, 48000])
def test_mel_bands_are_bright_at_their_pitch(rate):
    bands = filters(rate)
    assert (bands.max(1) > 0.2).all()
    for hertz in (150, 440, 1000):
        clip = np.sin(np.arange(rate) * 2 * np.pi * hertz / rate).astype(np.float32)
        found = log_mel(clip, rate)
        assert found.shape == shape(rate, rate)
        assert shape(cells_of(found.shape[1], rate), rate) == found.shape
        top = 2595 * np.log10(1 + rate / 2 / 700)
        want = 2595 * np.log10(1 + hertz / 700) / top * 65 - 1
        assert abs(found.mean(1).argmax() - want) <= 1
    assert (log_mel(np.zeros(rate, np.float32), rate) == np.float32(np.log(FLOOR))).all()


def test_loudness_does_not_count():
    rng = np.random.default_rng(0)
    clip = rng.normal(size=8000).astype(np.float32) * np.linspace(0, 0.2, 8000, dtype=np.float32)
    found = log_mel(clip, 8000)
    assert found.max() == pytest.approx(0, abs=1e-4)
    for gain in (1e-3, 0.1, 4):
        assert np.allclose(log_mel(clip * np.float32(gain), 8000), found, atol=1e-3)


def test_half_the_amplitude_is_6_decibels_less():
    wave = np.sin(np.arange(16000) * 2 * np.pi * 1000 / 8000).astype(np.float32)
    wave[8000:] /= 2
    found = log_mel(wave, 8000).max(0) * 10 / np.log(10)
    assert found[:90] == pytest.approx(0, abs=0.1)
    assert found[110:] == pytest.approx(-6.02, abs=0.1)


NAN = np.array([0, np.nan], "<f4").tobytes()
LOUD = {bits: np.array([0, -1e38], f"<f{bits // 8}").tobytes() for bits in (32, 64)}
BAD = {
    "empty": (b"", "it does not begin as a WAV file"),
    "text": (b"x" * 99, "it does not begin as a WAV file"),
    "no samples": (wav(b""), "the sound has no samples"),
    "cut in its header": (wav()[:30], "cannot be decoded"),
    "cut in its samples": (wav()[:-9], "9 bytes are missing at its end"),
    "a stream of unknown length": (wav(length=2**32 - 1), "bytes are missing at its end"),
    "no channels": (wav(channels=0), "0 channels"),
    "65535 channels": (wav(channels=65535), "65535 channels"),
    "a block that does not fit": (wav(block=7), "1 channels in blocks of 7 bytes"),
    "12 bits": (wav(bits=12), "form 1 of 12 bits"),
    "0 bits": (wav(bits=0), "form 1 of 0 bits"),
    "mu-law": (wav(kind=7, bits=8), "form 7 of 8 bits"),
    "16-bit floats": (wav(kind=3), "form 3 of 16 bits"),
    "extensible without more": (wav(b"", kind=0xFFFE)[:36], "cannot be decoded"),
    "no cells per second": (wav(rate=0), "0 cells per second"),
    "4 GHz": (wav(rate=2**32 - 1), "4294967295 cells per second"),
    "another rate": (
        wav(rate=16000),
        "it has 16000 Hz, 1 channels of int16; the first has 8000 Hz",
    ),
    "samples before their form": (wav()[:12] + wav()[36:], "its samples come before their form"),
    "NaN": (wav(NAN * 500, bits=32, kind=3), "it has 8000 Hz, 1 channels of float32"),
    "loud": (wav(LOUD[32] * 500, bits=32, kind=3), "it has 8000 Hz, 1 channels of float32"),
    "loud in 64 bits": (wav(LOUD[64] * 500, bits=64, kind=3), "it has 8000 Hz, 1 channels"),
    "chunks without end": (wav()[:36] + b"LIST\0\0\0\0" * 5000, "within 1000 chunks"),
    "big-endian": (b"RIFX" + wav()[4:], "it does not begin as a WAV file"),
}


@pytest.mark.parametrize("sound", ["wave", "mel"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_among_good_ones_is_named(sounds, kind, sound):
    content, says = BAD[kind]
    data = open_data(sounds(wav(), content), sound=sound)
    if kind in ("NaN", "loud", "loud in 64 bits") and sound == "mel":
        says = "a sample is NaN or infinite"  # forms may differ where all become one channel
    for pixels in (False, True):
        if says.startswith("a sample") and not pixels:
            continue
        with pytest.raises(bm.MixError) as error:
            checked(data, [0], None, pixels=pixels)
        text = " ".join(str(error.value).split())
        assert "two/2.wav: " in text
        assert says in text
    good = checked(data, [0], None, skip_bad=True)
    assert [name for name, _ in good.skipped] == ["two/2.wav"]
    assert sum(len(part) for part in vars(split(good, 0)).values()) == 15


@pytest.mark.parametrize("kind", ["empty", "no channels", "cut in its samples", "0 bits"])
def test_only_bad_files(sounds, kind):
    with pytest.raises(bm.MixError, match=r"one/0\.wav"):
        open_data(sounds(BAD[kind][0]))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12])
def test_lengths_that_no_clip_has(sounds, seconds):
    with pytest.raises(bm.MixError, match="--seconds: got"):
        open_data(sounds(wav()), seconds=seconds)


def test_seconds_are_not_for_images(images):
    with pytest.raises(bm.MixError, match=r"--seconds 1: .* holds images"):
        open_data(str(images("data")), seconds=1)


def test_a_long_file_is_not_read_whole(sounds, monkeypatch):
    folder = sounds(wav(bytes(200_000)))
    asked = []
    whole = np.frombuffer
    monkeypatch.setattr(np, "frombuffer", lambda b, d: asked.append(len(b)) or whole(b, d))
    open_data(folder, sound="wave", seconds=0.1).train[0]
    assert asked == [1600]


@pytest.mark.parametrize("sound", ["wave", "mel"])
@pytest.mark.parametrize("command", [("train", "--policy"), ("compare", "--policies")])
def test_a_policy_for_two_axes_is_refused_before_anything_is_trained(
    sounds, tmp_path, capsys, command, sound
):
    name, option = command
    with pytest.raises(SystemExit) as stop:
        main(
            [name, sounds(wav()), "--sound", sound, option, "mosaic", "--out", str(tmp_path / "o")]
        )
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert f"{option}: got 'mosaic'; axes of the rows: T. Four quadrants need two axes." in said
    assert not (tmp_path / "o").exists()
