"""MixBatches in tf.data pipelines: order, epochs, replay, forms of batches, static shapes."""

import numpy as np
import pytest
import tensorflow as tf

import batchmix as bm
from batchmix.adapters.tensorflow import MixBatches
from batchmix.fields import Image, Labels, Mask
from batchmix.policies import (
    CutMix,
    FMix,
    Layers,
    MixUp,
    ReMix,
    ResizeMix,
    SaliencyMix,
    Schedule,
    Switch,
)

ROWS, B, H, W, C = 50, 8, 8, 6, 10
STEPS = 7  # the last batch has 2 rows
SWITCH = Switch([MixUp(1.0), CutMix()])
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (ROWS, H, W, 3)).astype(np.uint8)
IDS = np.arange(ROWS) % C


def mixer(policy=SWITCH):
    """For (images, labels)."""
    return bm.Mixer(policy, {0: Image("NHWC"), 1: Labels(C)}, seed=4)


def data(images=IMAGES):
    """Batches of (images, labels)."""
    return tf.data.Dataset.from_tensor_slices((images, IDS)).batch(B)


def wanted(epoch, step, policy=SWITCH):
    """What a batch is mixed to."""
    rows = slice(B * step, B * step + B)
    return mixer(policy)((IMAGES[rows], IDS[rows]), step=step, epoch=epoch)


def assert_is(batch, epoch, step, policy=SWITCH):
    """A batch of the pipeline is the one of this epoch and step."""
    images, soft = wanted(epoch, step, policy)
    np.testing.assert_array_equal(batch[0].numpy(), images)
    np.testing.assert_allclose(batch[1], soft, atol=1e-6)


@pytest.mark.parametrize("calls", [1, 8, tf.data.AUTOTUNE])
def test_each_pass_is_an_epoch_whatever_runs_in_parallel(calls):
    mixed = data().apply(MixBatches(mixer(), num_parallel_calls=calls))
    for epoch in range(3):
        batches = list(mixed)
        assert len(batches) == STEPS
        for step, batch in enumerate(batches):
            assert_is(batch, epoch, step)
    assert not np.array_equal(wanted(0, 0)[0], wanted(1, 0)[0])


def test_what_is_known_before_it_runs():
    mixed = data().apply(MixBatches(mixer()))
    images, soft = mixed.element_spec
    assert images == tf.TensorSpec((None, H, W, 3), tf.uint8)
    assert soft == tf.TensorSpec((None, C), tf.float32)
    assert mixed.cardinality() == STEPS
    whole = data().unbatch().batch(B, drop_remainder=True).apply(MixBatches(mixer()))
    assert whole.element_spec[0].shape == (B, H, W, 3)
    assert whole.element_spec[1].shape == (B, C)


def test_resuming_at_an_epoch():
    mixing = MixBatches(mixer())
    mixed = data().apply(mixing)
    mixing.set_epoch(5)
    for epoch in (5, 6):
        for step, batch in enumerate(mixed):
            assert_is(batch, epoch, step)
    mixing.set_epoch(5)
    assert_is(next(iter(mixed)), 5, 0)
    for step, batch in enumerate(mixed.skip(3), 3):  # within an epoch
        assert_is(batch, 6, step)


def test_repeated_before_counts_on_and_repeated_after_is_a_new_epoch():
    mixed = data().repeat(2).apply(MixBatches(mixer()))
    before = list(mixed)
    assert len(before) == 2 * STEPS
    rows = IMAGES[:B], IDS[:B]
    want = mixer()(rows, step=STEPS, epoch=0)
    np.testing.assert_array_equal(before[STEPS][0].numpy(), want[0])
    again = next(iter(mixed))  # another pass, another mix
    assert not np.array_equal(again[0], before[0][0])
    after = list(data().apply(MixBatches(mixer())).repeat(2))
    for k, batch in enumerate(after):
        assert_is(batch, k // STEPS, k % STEPS)


@pytest.mark.parametrize("repeats", [3, None])
def test_epochs_of_a_repeated_data_set_are_told_or_refused(repeats):
    policy = Schedule({0: MixUp(1.0), 2: None})
    off = mixer(policy)
    early = data().unbatch().repeat(repeats).batch(B).prefetch(1)
    for repeated in (data().repeat(repeats), early):
        with pytest.raises(bm.MixError, match=r"(?s)nobody has told.*steps_per_epoch"):
            repeated.apply(MixBatches(off))
    mixing = MixBatches(off, steps_per_epoch=STEPS)
    mixed = data().repeat(repeats).apply(mixing).take(3 * STEPS)
    for k, batch in enumerate(mixed):
        assert_is(batch, k // STEPS, k % STEPS, policy)
    mixing.set_epoch(1)
    assert_is(next(iter(mixed)), 1, 0, policy)
    with pytest.raises(bm.MixError, match="epoch=-1"):
        mixing.set_epoch(-1)
    for bad in (0, 2.5):
        with pytest.raises(bm.MixError, match="steps_per_epoch"):
            MixBatches(off, steps_per_epoch=bad)


def test_what_is_zipped_with_a_repeated_one_ends_with_the_shorter():
    policy = Schedule({0: MixUp(1.0), 1: None})
    numbered = tf.data.Dataset.zip((data(), tf.data.Dataset.counter(), data().repeat()))
    mixed = numbered.map(lambda one, _, __: one).apply(MixBatches(mixer(policy)))
    for epoch in range(2):
        assert_is(next(iter(mixed)), epoch, 0, policy)


def test_a_second_pass_over_a_repeated_data_set_goes_on():
    """With a length its epochs are those after the ones that were begun."""
    mixed = data().repeat(2).apply(MixBatches(mixer(), steps_per_epoch=STEPS))
    for first in (0, 2):
        for k, batch in enumerate(mixed):
            assert_is(batch, first + k // STEPS, k % STEPS)


def test_what_is_told_holds_while_an_old_pass_reads_on():
    mixing = MixBatches(mixer(), steps_per_epoch=STEPS)
    mixed = data().repeat().apply(mixing)
    old = iter(mixed)
    next(old)
    mixing.set_epoch(9)
    for _ in range(3 * STEPS):
        next(old)
    assert_is(next(iter(mixed)), 9, 0)


def test_what_mixes():
    for given in (SWITCH, None, bm.Mixer(SWITCH, {})):
        with pytest.raises(bm.MixError, match="MixBatches"):
            MixBatches(given)


def test_a_schedule_by_epoch_reaches_the_pipeline():
    policy = Schedule({0: MixUp(1.0), 1: None})
    mixed = data().apply(MixBatches(mixer(policy)))
    first, second = list(mixed), list(mixed)
    assert_is(first[0], 0, 0, policy)
    assert not np.array_equal(first[0][0], IMAGES[:B])
    np.testing.assert_array_equal(second[0][0], IMAGES[:B])


def test_dicts_with_masks_and_what_is_not_named():
    fields = {"image": Image("NHWC"), "mask": Mask("NHW"), "label": Labels(C, smoothing=0.1)}
    mix = bm.Mixer(SWITCH, fields)
    rows = {"image": IMAGES, "mask": IMAGES[..., 0].astype(np.int32), "label": IDS, "id": IDS}
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(B)
    for step, got in enumerate(batches.apply(MixBatches(mix))):
        part = {name: value[B * step : B * step + B] for name, value in rows.items()}
        want = mix(part, step=step, epoch=0)
        for name, value in want.items():
            np.testing.assert_allclose(got[name], value, atol=1e-6)
            assert got[name].dtype == value.dtype


def test_two_streams():
    """Two shuffled data sets of the same images, one mixed with the other."""
    pair = tf.data.Dataset.zip((data(), data(IMAGES[::-1].copy())))
    mixed = pair.apply(MixBatches(mixer(), two_streams=True))
    assert mixed.element_spec[0] == tf.TensorSpec((None, H, W, 3), tf.uint8)
    for step, (images, soft) in enumerate(mixed):
        rows = slice(B * step, B * step + B)
        one, two = (IMAGES[rows], IDS[rows]), (IMAGES[::-1][rows], IDS[rows])
        want = mixer()(one, step=step, epoch=0, other=two)
        np.testing.assert_array_equal(images.numpy(), want[0])
        np.testing.assert_allclose(soft, want[1], atol=1e-6)


def test_by_hand_with_an_index():
    mix = mixer()
    epoch = tf.Variable(2, dtype=tf.int64)
    mapped = data().enumerate().map(lambda i, batch: mix(batch, step=i, epoch=epoch.read_value()))
    for step, batch in enumerate(mapped):
        assert_is(batch, 2, step)
    for refused in (None, 2):  # that of the trace, in every pass
        with pytest.raises(
            bm.MixError, match=r"(?s)traced `step` and (?:no `)?epoch.*arguments of the"
        ):
            data().enumerate().map(lambda i, batch, e=refused: mix(batch, step=i, epoch=e))


def test_without_an_index_it_is_refused():
    mix = mixer()
    with pytest.raises(bm.MixError, match=r"(?s)no `step`.*MixBatches"):
        data().map(lambda x, y: mix((x, y)))


def test_a_field_that_is_missing_is_seen_before_it_runs():
    mix = bm.Mixer(SWITCH, {"image": Image("NHWC")})
    named = data().map(lambda x, y: {"images": x, "label": y})
    with pytest.raises(bm.MixError, match="Did you mean 'images'"):
        named.apply(MixBatches(mix))


def test_iterators_may_run_at_the_same_time():
    mixed = data().apply(MixBatches(mixer()))
    one, two = iter(mixed), iter(mixed)
    for step in range(STEPS):
        assert_is(next(one), 0, step)
        assert_is(next(two), 1, step)


def test_an_epoch_that_is_not_told_to_a_graph_is_refused():
    """It would be read once, and each pass be mixed alike."""
    mix = mixer()
    with pytest.raises(bm.MixError, match=r"(?s)no `epoch`.*MixBatches"):
        data().enumerate().map(lambda i, batch: mix(batch, step=i))


def test_an_epoch_in_which_no_pass_begins():
    """Told, the epoch of a pass that goes on would have no effect, and a schedule never end."""
    mixing = MixBatches(bm.Mixer(MixUp(1.0), {0: Image("NHWC")}))
    endless = tf.data.Dataset.from_generator(
        lambda: iter(lambda: (np.ones((2, 4, 4, 1), np.float32),), None),
        output_signature=(tf.TensorSpec([None, 4, 4, 1], tf.float32),),
    ).apply(mixing)
    mixing.set_epoch(0)
    batches = iter(endless)
    next(batches)
    mixing.set_epoch(1)
    next(batches)
    with pytest.raises(bm.MixError, match=r"(?s)no pass began in epoch 1.*steps_per_epoch"):
        mixing.set_epoch(2)


@pytest.mark.parametrize("given", [MixUp(1.0), MixUp, bm.Mixer, None])
def test_what_mixes_is_a_mixer(given):
    with pytest.raises(bm.MixError, match="MixBatches"):
        MixBatches(given)


@pytest.mark.parametrize(
    "policy",
    [SaliencyMix(), ReMix(MixUp(1.0), [10] * 5 + [1] * 5), FMix(), Layers([MixUp(1.0), CutMix()])],
)
def test_what_policies_read_where_the_last_batch_is_shorter(policy):
    """The graph does not know how many rows there are; the host does when it draws."""
    mixed = data().apply(MixBatches(mixer(policy)))
    for step, batch in enumerate(mixed):
        assert_is(batch, 0, step, policy)


def test_a_program_has_room_for_one_way_of_stretching():
    ways = (ResizeMix(resample="nearest"), ResizeMix(resample="bilinear"))
    mixed = data().apply(MixBatches(mixer(Schedule(dict(enumerate(ways))))))
    next(iter(mixed))
    with pytest.raises(tf.errors.OpError, match="room for one kind of plan"):
        list(mixed)
