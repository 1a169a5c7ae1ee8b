"""MixBatches in tf.data pipelines: order, epochs, replay, forms of batches, static shapes."""

import numpy as np
import pytest
import tensorflow as tf

import batchmix as bm
from batchmix.adapters.tensorflow import MixBatches
from batchmix.fields import Image, Labels, Mask
from batchmix.policies import CutMix, MixUp, Schedule, Switch

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
    before = list(data().repeat(2).apply(MixBatches(mixer())))
    assert len(before) == 2 * STEPS
    rows = IMAGES[:B], IDS[:B]
    want = mixer()(rows, step=STEPS, epoch=0)
    np.testing.assert_array_equal(before[STEPS][0].numpy(), want[0])
    after = list(data().apply(MixBatches(mixer())).repeat(2))
    for k, batch in enumerate(after):
        assert_is(batch, k // STEPS, k % STEPS)


def test_fit_goes_from_epoch_to_epoch():
    seen = []

    class Noting:
        """A Mixer that notes which plans were drawn."""

        def __call__(self, batch, step, epoch):
            tf.numpy_function(lambda s, e: seen.append((int(e), int(s))), [step, epoch], [])
            return mixer()(batch, step, epoch)

    layers = [tf.keras.layers.Flatten(), tf.keras.layers.Dense(C, activation="softmax")]
    model = tf.keras.Sequential([tf.keras.Input((H, W, 3)), *layers])
    model.compile(loss="categorical_crossentropy")
    mixing = MixBatches(Noting())
    model.fit(data().apply(mixing), epochs=3, verbose=0, shuffle=False)
    whole = [e for e in range(5) if sum(epoch == e for epoch, _ in seen) == STEPS]
    assert len(whole) >= 3
    assert whole == list(range(whole[0], whole[0] + len(whole)))


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
    mapped = data().enumerate().map(lambda i, batch: mix(batch, step=i, epoch=2), tf.data.AUTOTUNE)
    for step, batch in enumerate(mapped):
        assert_is(batch, 2, step)


def test_without_an_index_it_is_refused():
    mix = mixer()
    with pytest.raises(bm.MixError, match="no `step`"):
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
