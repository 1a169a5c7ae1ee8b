"""A Mixer that writes into the batch gives what one that does not gives, and loses nothing."""

import dataclasses

import numpy as np
import pytest

import batchmix as bm
from batchmix.extend import get_at, path_of
from batchmix.fields import Features, Image, Keep, Labels, Mask
from batchmix.pairing import Permutation, Reverse, Roll
from batchmix.policies import MixUp
from checks import SWITCH
from test_mixer import STRUCTURES, images, labels, repr_of

FIELDS = {"x": Image("NCHW"), "m": Mask("NHW"), "y": Labels(5, smoothing=0.1), "k": Keep()}


def batch_of(xp):
    rng = np.random.default_rng(1)
    return {
        "x": images(xp), "m": xp.ids(rng.integers(0, 9, (4, 8, 12))), "y": labels(xp), "k": "kept",
        "z": xp.array(rng.random((4, 8, 12)), "float64"),
    }  # fmt: skip


def mixers(fields, **options):
    return [bm.Mixer(SWITCH, fields, seed=3, inplace=inplace, **options) for inplace in (0, 1)]


@pytest.mark.parametrize("pairing", [Reverse(), Roll(1), Permutation()])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_same_result_in_the_memory_of_the_batch(xp, structure, pairing):
    make, image, label = STRUCTURES[structure]
    copying, writing = mixers({image: Image("NCHW"), label: Labels(5)}, pairing=pairing)
    x = images(xp)
    for step in range(3):
        want = copying(make(xp.copy(x), labels(xp)), step=step)
        own = xp.copy(x)
        got = writing(make(own, labels(xp)), step=step)
        assert type(got) is type(want)
        assert repr_of(got, xp) == repr_of(want, xp)
        made = get_at(want, path_of(image))
        np.testing.assert_array_equal(xp.numpy(own), xp.numpy(made if xp.writes else x))


def test_every_field_and_two_streams(xp):
    copying, writing = mixers(FIELDS | {"z": Features("NHW")})
    want = copying(batch_of(xp), other=batch_of(xp))
    batch, other = batch_of(xp), batch_of(xp)
    got = writing(batch, other=other)
    assert repr_of(got, xp) == repr_of(want, xp)
    assert repr_of(other, xp) == repr_of(batch_of(xp), xp)
    for name in ("x", "m", "z"):
        assert (got[name] is batch[name]) is xp.writes


def test_what_something_else_holds_too_is_copied(xp):
    """One array under two names, or a view of it, named or not."""
    copying, writing = mixers({"x": Image("NCHW"), "again": Image("NCHW")})
    x = images(xp)
    before = xp.numpy(xp.copy(x))
    for other_name in (x, x[:, :2], x[1:]):
        batch = {"x": x, "clean": other_name, "again": images(xp, seed=5)}
        want, got = copying(batch, step=0), writing(batch, step=0)
        assert repr_of(got, xp) == repr_of(want, xp)
        np.testing.assert_array_equal(xp.numpy(x), before)
        assert got["clean"] is other_name
    twice = writing({"x": x, "again": x}, step=0)
    np.testing.assert_array_equal(xp.numpy(twice["x"]), xp.numpy(twice["again"]))
    np.testing.assert_array_equal(xp.numpy(x), before)


def test_read_only_memory_is_copied():
    copying, writing = mixers({0: Image("NCHW")})
    x = np.random.default_rng(0).random((4, 3, 8, 12))
    repeated = np.broadcast_to(x[:1], x.shape)
    x.flags.writeable = False
    for batch in ((x,), (repeated,)):
        np.testing.assert_array_equal(writing(batch, step=1)[0], copying(batch, step=1)[0])


@pytest.mark.parametrize(
    "spoil",
    [
        {"y": np.array([0, 1, 2, 9])},  # no such class
        {"m": np.zeros((4, 8, 12), complex)},  # ids may be of any dtype: this one is fine
        {"z": np.zeros((4, 8, 12), "int64")},  # cannot be averaged
        {"z": np.zeros((3, 8, 12))},
        {"z": np.zeros((4, 7, 12))},
    ],
)
def test_a_refused_batch_is_as_it_was(spoil):
    batch = {"x": np.random.default_rng(0).random((4, 3, 8, 12)), "m": np.zeros((4, 8, 12), int)}
    batch |= {"y": np.arange(4), "z": np.zeros((4, 8, 12)), "k": 0} | spoil
    before = {name: np.copy(value) for name, value in batch.items()}
    mixer = bm.Mixer(MixUp(1.0), FIELDS | {"z": Features("NHW")}, inplace=True)
    if "m" in spoil:
        mixer(batch)
        return
    with pytest.raises(bm.MixError):
        mixer(batch)
    for name, value in before.items():
        np.testing.assert_array_equal(batch[name], value)
    assert mixer.state_dict()["step"] == 0  # the next batch has the plan that this one had


def other_views():
    """The same memory under other types, and of another framework."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).random((4, 3, 8, 12))
    tensor = torch.from_numpy(x)
    yield x, tensor
    yield tensor, x
    yield torch.nn.Parameter(tensor, requires_grad=False), tensor


def test_memory_is_known_under_other_types():
    for x, view in other_views():
        read = view.numpy if hasattr(view, "numpy") else view.view
        before = read().copy()
        bm.Mixer(MixUp(1.0), {"x": Image("NCHW")}, inplace=True)({"x": x, "same": view})
        np.testing.assert_array_equal(read(), before)


def test_two_names_of_one_part():
    x = np.random.default_rng(0).random((4, 3, 8, 12))
    copying, writing = mixers({0: Image("NCHW"), -2: Image("NCHW")})
    np.testing.assert_array_equal(writing((x.copy(), 0), step=0)[0], copying((x, 0), step=0)[0])


@dataclasses.dataclass
class Unmakeable:
    """A dataclass that cannot be copied with another value."""

    x: object
    scale: dataclasses.InitVar[float]

    def __post_init__(self, scale):
        pass


def test_a_batch_that_cannot_be_rebuilt_is_as_it_was():
    batch = Unmakeable(np.random.default_rng(0).random((4, 3, 8, 12)), 2.0)
    before = batch.x.copy()
    mixer = bm.Mixer(MixUp(1.0), {"x": Image("NCHW")}, inplace=True)
    with pytest.raises(bm.MixError, match="Unmakeable"):
        mixer(batch)
    np.testing.assert_array_equal(batch.x, before)
