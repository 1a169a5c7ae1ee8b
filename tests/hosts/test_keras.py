"""MixLayer on the Keras backend that KERAS_BACKEND names: one process for each of the three.

What `keras.layers.MixUp` and `CutMix` get wrong has a test each.
"""

import copy
import csv
import importlib
import json
import pickle
from dataclasses import dataclass

import keras
import numpy as np
import pytest

import batchmix as bm
from batchmix.adapters.keras import MixDataset, MixLayer, TellEpoch
from batchmix.fields import Features, Image, Labels
from batchmix.pairing import Reverse, Within
from batchmix.policies import CutMix, MixUp, PerPair, Schedule, Sometimes, Switch

# of Keras' own code, where weights are set
COPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
pytestmark = pytest.mark.filterwarnings(COPY)
BACKEND = keras.config.backend()
B, H, W, C = 8, 8, 6, 8
SWITCH = Switch([MixUp(1.0), CutMix()])
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (B, H, W, 3)).astype(np.uint8)
IDS = np.arange(B)
MASKS = RNG.choice([0, 7, 255], (B, H, W)).astype(np.uint8)


def host(x):
    """As a NumPy array."""
    x = x.detach() if hasattr(x, "detach") else x
    return np.asarray(x.numpy() if hasattr(x, "numpy") else x)


def of_backend(x):
    """As a tensor of the Keras backend."""
    return keras.ops.convert_to_tensor(x)


@pytest.fixture(scope="module")
def tf():
    """TensorFlow, whose pipelines feed every backend."""
    return importlib.import_module("tensorflow")


@pytest.fixture(scope="module")
def batches():
    return importlib.import_module("batchmix.adapters.tensorflow").MixBatches


# two lines of use, on arrays of NumPy and of the backend


@pytest.mark.parametrize("make", [np.asarray, of_backend])
def test_images_labels_and_masks_follow_one_plan(make):
    data = {"images": make(IMAGES), "labels": make(IDS), "segmentation_masks": make(MASKS)}
    mix = MixLayer(SWITCH, classes=C, seed=3)
    got = mix({**data, "name": "kept"}, step=5, epoch=2)
    plan = bm.draw(SWITCH, bm.Key(3, 2, 5), B, {"H": H, "W": W})
    np.testing.assert_array_equal(host(got["images"]), bm.mix(IMAGES, plan, "NHWC"))
    np.testing.assert_allclose(host(got["labels"]), bm.mix_labels(IDS, plan, C), atol=1e-6)
    np.testing.assert_array_equal(
        host(got["segmentation_masks"]), bm.fields.Ids("NHW")(MASKS, plan)
    )
    assert got["name"] == "kept"
    for name in data:
        assert type(got[name]) is type(data[name])


def test_pairs_of_images_and_labels_and_its_own_count():
    mix, twin = MixLayer(SWITCH, classes=C), MixLayer(SWITCH, classes=C)
    first, second = mix((IMAGES, IDS)), mix([IMAGES, IDS])
    assert (type(first), type(second)) == (tuple, list)
    assert not np.array_equal(first[0], second[0])
    for step, got in enumerate([first, second]):
        np.testing.assert_array_equal(got[0], twin((IMAGES, IDS), step=step)[0])


@pytest.mark.parametrize("masks", [MASKS, MASKS[..., None], MASKS.astype(np.int32)])
def test_masks_keep_shape_dtype_and_ids(masks):
    """CutMix of Keras gives them the channels of the image, MixUp one per row."""
    mix = MixLayer(MixUp(1.0), classes=C)
    got = mix({"images": IMAGES, "labels": IDS, "segmentation_masks": masks}, step=0)
    got = got["segmentation_masks"]
    assert (got.shape, got.dtype) == (masks.shape, masks.dtype)
    assert set(np.unique(got)) <= {0, 7, 255}
    assert not np.array_equal(got, masks)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_labels_match_pixels(size):
    """The label of Keras' CutMix is off by up to 0.4 at 4 x 4."""
    mix = MixLayer(CutMix(), classes=B)
    for step in range(5):
        shares = np.zeros((B, B))
        for label in range(B):
            images = np.zeros((B, size, size, 1), np.float32)
            images[label] = 1
            mixed, soft = mix((of_backend(images), of_backend(IDS)), step=step)
            shares[:, label] = host(mixed).mean((1, 2, 3))
        np.testing.assert_allclose(host(soft), shares, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integer_labels(dtype):
    """Keras fails for them or makes a label for each pair of rows."""
    mix = MixLayer(MixUp(1.0), classes=C)
    soft = host(mix((of_backend(IMAGES), of_backend(IDS.astype(dtype))), step=0)[1])
    assert (soft.shape, str(soft.dtype)) == ((B, C), "float32")
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    one_hot = of_backend(np.eye(C, dtype=dtype))
    np.testing.assert_allclose(host(mix((IMAGES, host(one_hot)), step=0)[1]), soft, atol=1e-6)
    with pytest.raises(bm.MixError, match="classes=None"):
        MixLayer(MixUp(1.0))((IMAGES, IDS.astype(dtype)))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float16", "float32"])
def test_dtypes_are_those_of_the_data(policy, dtype):
    """Keras makes 8-bit images float32, and fails under mixed_bfloat16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mix = MixLayer(SWITCH, classes=C)
        images = keras.ops.cast(of_backend(IMAGES), dtype)
        masks = of_backend(MASKS)
        got = mix({"images": images, "labels": of_backend(IDS), "segmentation_masks": masks})
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(got["images"].dtype) == dtype
    assert keras.backend.standardize_dtype(got["labels"].dtype) == "float32"
    assert keras.backend.standardize_dtype(got["segmentation_masks"].dtype) == "uint8"


@pytest.mark.parametrize("form", ["channels_first", "channels_last"])
def test_data_format(form):
    images = np.moveaxis(IMAGES, -1, 1) if form == "channels_first" else IMAGES
    mix = MixLayer(CutMix(), classes=C, data_format=form)
    mixed = mix((images, IDS), step=0)[0]
    mixed = np.moveaxis(mixed, 1, -1) if form == "channels_first" else mixed
    np.testing.assert_array_equal(mixed, MixLayer(CutMix(), classes=C)((IMAGES, IDS), step=0)[0])
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(form)
    try:
        assert MixLayer(CutMix()).data_format == form
    finally:
        keras.config.set_image_data_format(before)
    with pytest.raises(bm.MixError, match="data_format"):
        MixLayer(CutMix(), data_format="last")


def test_video_boxes_span_all_frames():
    video = np.broadcast_to(IMAGES[:, None], (B, 4, H, W, 3))
    mixed = MixLayer(CutMix(), classes=C)((video, IDS), step=1)[0]
    np.testing.assert_array_equal(mixed, np.broadcast_to(mixed[:, :1], mixed.shape))
    assert not np.array_equal(mixed, video)


def test_without_training_only_labels_become_soft():
    mix = MixLayer(SWITCH, classes=C, smoothing=0.1)
    data = {"images": of_backend(IMAGES), "labels": of_backend(IDS), "segmentation_masks": MASKS}
    got = mix(data, training=False)
    np.testing.assert_array_equal(host(got["images"]), IMAGES)
    assert got["segmentation_masks"] is MASKS
    np.testing.assert_array_equal(host(got["labels"]), np.eye(C, dtype=np.float32))
    assert (mix.mixer.epoch, mix.mixer.step) == (0, 0)
    assert mix({"images": IMAGES}, training=False)["images"] is IMAGES
    unsaid = mix((IMAGES, IDS), training=None, step=0)[0]
    np.testing.assert_array_equal(unsaid, mix((IMAGES, IDS), step=0)[0])


def test_two_streams():
    mix = MixLayer(MixUp(1.0), classes=C)
    got, soft = mix((IMAGES, IDS), step=0, other=(255 - IMAGES, IDS[::-1].copy()))
    plan = bm.draw(MixUp(1.0), bm.Key(0), B, {"H": H, "W": W}, other=B)
    np.testing.assert_array_equal(got, bm.mix(IMAGES, plan, "NHWC", other=255 - IMAGES))
    want = bm.mix_labels(IDS, plan, C, other=IDS[::-1].copy())
    np.testing.assert_array_equal(soft, want)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (IMAGES, "a batch ndarray"),
        ((IMAGES, IDS, IDS), "tuple of 3"),
        ({"image": IMAGES}, r"batch \['image'\]"),
        ({"images": IMAGES, "bounding_boxes": {}}, "bounding boxes"),
        ((IMAGES[0], IDS), "images have shape"),
        ((keras.KerasTensor((B, H, W, 3)), IDS), "while a model is built"),
    ],
)
def test_what_is_refused(data, match):
    with pytest.raises(bm.MixError, match=match):
        MixLayer(MixUp(1.0), classes=C)(data)


def test_a_mixer_says_all_by_itself():
    mixer = bm.Mixer(SWITCH, {"x": Image("NHWC"), "y": Labels(C)}, seed=3)
    mix = MixLayer(mixer)
    got = mix({"x": IMAGES, "y": IDS})
    np.testing.assert_array_equal(got["x"], mixer({"x": IMAGES, "y": IDS}, step=0)["x"])
    assert mixer.step == 0  # it may be that of others too
    hard = mix({"x": IMAGES, "y": IDS}, training=False)
    np.testing.assert_array_equal(hard["y"], np.eye(C))
    for options in ({"classes": C}, {"smoothing": 0.1}, {"data_format": "channels_last"}):
        with pytest.raises(bm.MixError, match="a Mixer with fields"):
            MixLayer(mixer, **options)
    with pytest.raises(bm.MixError, match="a Mixer and seed"):
        MixLayer(mixer, seed=1)


# what Keras' own tests of MixUp and CutMix ask for


@pytest.mark.parametrize("policy", [MixUp(0.2), CutMix()])
@pytest.mark.parametrize("form", ["channels_first", "channels_last"])
def test_no_row_is_mixed_with_itself_and_shapes_stay(policy, form):
    """Rows of zeros and rows of ones: what is pasted is seen."""
    shape = (3, 8, 6) if form == "channels_first" else (8, 6, 3)
    images = np.zeros((4, *shape), np.float32)
    images[::2] = 1
    got = MixLayer(policy, data_format=form, pairing=Reverse())({"images": images}, step=0)
    assert got["images"].shape == images.shape
    assert not np.array_equal(got["images"], images)
    alone = MixLayer(policy, data_format=form)({"images": images[:1]}, step=0)["images"]
    np.testing.assert_array_equal(alone, images[:1])


def test_without_training_nothing_is_asked_of_the_shape():
    image = RNG.integers(0, 255, (24, 24, 3))
    got = MixLayer(bm.Mixer(MixUp(), {"images": Image("NHWC")}))({"images": image}, training=False)
    assert got["images"] is image


def test_images_alone_in_tf_data(tf, batches):
    ones = {"images": RNG.random((4, 8, 8, 3))}
    data = tf.data.Dataset.from_tensor_slices(ones).batch(2).apply(batches(MixLayer(MixUp())))
    for step, got in enumerate(data):
        part = {"images": ones["images"][2 * step : 2 * step + 2]}
        want = MixLayer(MixUp())(part, step=step)["images"]
        np.testing.assert_allclose(got["images"], want, rtol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, of_backend])
def test_labels_in_a_column(make):
    """As in keras.datasets.cifar10; Keras' own layer makes labels [B, B, C] of them."""
    mix = MixLayer(MixUp(0.2), classes=C)
    column = mix({"images": make(IMAGES), "labels": make(IDS[:, None])}, step=0)["labels"]
    np.testing.assert_array_equal(host(column), mix((IMAGES, IDS), step=0)[1])
    hard = mix((make(IMAGES), make(IDS[:, None])), training=False)[1]
    np.testing.assert_array_equal(host(hard), np.eye(C))


# storing


@dataclass(frozen=True)
class Half:
    """A policy of a user."""

    share: float = 0.5

    def sample(self, rows):
        return MixUp(self.share).sample(rows)


keras.saving.get_custom_objects()["Half"] = Half
STORED = [
    MixLayer(MixUp(0.2), classes=10, seed=4, name="mix"),
    MixLayer(None, smoothing=0.1, classes=3, data_format="channels_first"),
    MixLayer(PerPair(SWITCH), pairing=Reverse(), rank=2),
    MixLayer(Sometimes(Schedule({0: MixUp(0.8), 3: None}), 0.5), pairing=Within(2, Reverse())),
    MixLayer(bm.Mixer(Half(0.25), {"x": Features("NC"), ("y", 0): Labels(4)}, seed=2, rank=1)),
]


@pytest.mark.parametrize("layer", STORED)
def test_config_round_trip(layer):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    mine, theirs = vars(layer.mixer), vars(again.mixer)
    assert (mine["policy"], mine["pairing"]) == (theirs["policy"], theirs["pairing"])
    assert (mine["fields"], mine["seed"]) == (theirs["fields"], theirs["seed"])


def test_copies_and_pickles_for_other_processes():
    layer = MixLayer(SWITCH, classes=C, seed=9)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(
            again((IMAGES, IDS), step=2)[0], layer((IMAGES, IDS), step=2)[0]
        )


class Trainer(keras.Model):
    """A model that mixes in its own step of training."""

    def __init__(self, mix, net=None, **kwargs):
        super().__init__(**kwargs)
        self.mix, self.net = mix, net or model()

    def call(self, images):
        return self.net(images)

    def get_config(self):
        parts = {"mix": self.mix, "net": self.net}
        stored = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **stored}

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config.pop(name)) for name in ("mix", "net")
        }
        return cls(**parts, **config)


def test_a_file_of_keras(tmp_path):
    """A model that holds the layer, and a pipeline of layers."""
    layer = MixLayer(Sometimes(SWITCH, 0.9), classes=C, seed=9, pairing=Reverse())
    want = layer((IMAGES, IDS), step=2)
    trainer = Trainer(layer)
    before = host(trainer(of_backend(IMAGES)))
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras", custom_objects={"Trainer": Trainer})
    np.testing.assert_allclose(host(again(of_backend(IMAGES))), before, rtol=1e-6)
    np.testing.assert_array_equal(again.mix((IMAGES, IDS), step=2)[0], want[0])
    stored = keras.saving.serialize_keras_object(keras.layers.Pipeline([layer]))
    (mix,) = keras.saving.deserialize_keras_object(json.loads(json.dumps(stored))).layers
    np.testing.assert_array_equal(mix((IMAGES, IDS), step=2)[1], want[1])


def test_stored_layer_gives_the_same_mix():
    layer = MixLayer(SWITCH, classes=C, seed=9)
    again = MixLayer.from_config(layer.get_config())
    np.testing.assert_array_equal(layer((IMAGES, IDS))[0], again((IMAGES, IDS))[0])
    with pytest.raises(bm.MixError, match="get_custom_objects"):
        MixLayer.from_config({**layer.get_config(), "given": {"class": "Other", "given": {}}})


# pipelines


def model(rate=0.01):
    """A small network on soft labels."""
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(C)]
    net = keras.Sequential([keras.Input((H, W, 3)), *layers])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(rate), loss=loss, metrics=["accuracy"])
    return net


PLAIN = [(np.roll(IMAGES, k, 0), np.roll(IDS, k)) for k in range(4)]


class Batches(keras.utils.PyDataset):
    """Four batches."""

    def __len__(self):
        return len(PLAIN)

    def __getitem__(self, index):
        return PLAIN[index]


def loss_by_hand(net, batches):
    """The mean over batches, in NumPy."""
    losses = []
    for images, soft in batches:
        logits = host(net(of_backend(images))).astype(float)
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        losses.append(-(np.asarray(soft) * logs).sum(1).mean())
    return np.mean(losses)


def losses_of_epochs(net, policy, epochs):
    """By hand, of the plans of each epoch."""
    mixer = bm.Mixer(policy, {0: Image("NHWC"), 1: Labels(C)}, seed=1)
    return [
        loss_by_hand(net, [mixer(batch, step=k, epoch=e) for k, batch in enumerate(PLAIN)])
        for e in epochs
    ]


OFF = Schedule.off_after(SWITCH, epoch=1)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("policy", [SWITCH, OFF])
def test_fit_trains_each_epoch_with_its_own_plans(workers, policy):
    """Also where Keras' queue carries batches over into the next epoch; validation is clean."""
    data = MixDataset(Batches(workers=workers), MixLayer(policy, classes=C, seed=1))
    clean = MixDataset(Batches(workers=workers), MixLayer(None, classes=C))
    net = model(rate=0.0)
    history = net.fit(
        data, epochs=3, validation_data=clean, verbose=0, shuffle=False, callbacks=[TellEpoch(data)]
    ).history
    want = losses_of_epochs(net, policy, range(3))
    np.testing.assert_allclose(history["loss"], want, rtol=1e-5)
    assert (want[1] == want[2]) == (policy is OFF)
    unmixed = [loss_by_hand(net, [(x, np.eye(C)[y]) for x, y in PLAIN])] * 3
    np.testing.assert_allclose(history["val_loss"], unmixed, rtol=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("layer", [True, False])
def test_what_was_done_is_in_the_logs(workers, layer, tmp_path, capsys):
    """Means over the batches of each epoch, in the history, in files and in the progress bar."""
    mixer = bm.Mixer(SWITCH, {0: Image("NHWC"), 1: Labels(C)}, seed=1)
    mix = MixLayer(SWITCH, classes=C, seed=1) if layer else mixer
    data, seen = MixDataset(Batches(workers=workers), mix), []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: seen.append(logs))
    told = [TellEpoch(data, log=True), keras.callbacks.CSVLogger(tmp_path / "log.csv"), watch]
    history = model(rate=0.0).fit(data, epochs=2, verbose=1, shuffle=False, callbacks=told).history
    with (tmp_path / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    printed, again = capsys.readouterr().out, mixer.but()
    assert len(seen) == 8
    for epoch in range(2):
        found = []
        for step, batch in enumerate(PLAIN):
            again(batch, step=step, epoch=epoch)
            found.append(again.summary())
        assert found[0].keys() == {
            f"mix/{name}" for name in ("lam", "hardness", "unmixed", "mixup", "cutmix")
        }
        for name in found[0]:
            mean = pytest.approx(np.mean([one[name] for one in found]))
            assert history[name][epoch] == mean
            assert float(table[epoch][name]) == mean
            assert seen[4 * epoch + 3][name] == mean
            assert name in printed


def test_a_log_of_what_is_not_known_is_refused():
    mixer = bm.Mixer(SWITCH, {0: Image("NHWC"), 1: Labels(C)}, seed=1)
    data = MixDataset(Batches(), mixer)
    own = MixDataset(Batches(), lambda batch, **address: mixer(batch, **address))
    for told in ([mixer], [data, mixer], [own]):
        with pytest.raises(bm.MixError, match=r"TellEpoch\(MixDataset\(data, mix\), log=True\)"):
            TellEpoch(*told, log=True)
    assert data.logged is None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_goes_on_at_an_epoch_is_the_one_that_did_not_stop(workers):
    """Weights and losses, by `initial_epoch`."""

    def fitted(net, **epochs):
        data = MixDataset(Batches(workers=workers), MixLayer(SWITCH, classes=C, seed=1))
        told = [TellEpoch(data)]
        return net.fit(data, verbose=0, shuffle=False, callbacks=told, **epochs).history["loss"]

    whole, parts = model(), model()
    for net in (whole, parts):  # Keras' queue changes the order of batches for a model without loss
        net.train_on_batch(IMAGES, np.eye(C)[IDS])
        net.set_weights(whole.get_weights())
    one = fitted(whole, epochs=3)
    two = fitted(parts, epochs=1) + fitted(parts, initial_epoch=1, epochs=3)
    np.testing.assert_allclose(one, two, rtol=1e-6)
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_pass_that_nobody_told_is_no_epoch():
    data = MixDataset(Batches(), MixLayer(SWITCH, classes=C, seed=1))
    net = model(rate=0.0)
    losses = net.fit(data, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert len(set(losses)) == 3
    data = MixDataset(Batches(), bm.Mixer(OFF, {0: Image("NHWC"), 1: Labels(C)}))
    with pytest.raises(Exception, match="nobody has told"):
        net.fit(data, verbose=0)


def test_a_layer_in_a_data_set_of_ones_own():
    """With one worker Keras reads what it trains; the callback tells the layer."""

    class Mixed(Batches):
        def __getitem__(self, index):
            return mix(PLAIN[index], step=index)

    mix, net = MixLayer(OFF, classes=C, seed=1), model(rate=0.0)
    told = [TellEpoch(mix)]
    losses = net.fit(Mixed(), epochs=2, verbose=0, shuffle=False, callbacks=told).history["loss"]
    np.testing.assert_allclose(losses, losses_of_epochs(net, OFF, range(2)), rtol=1e-5)


def test_data_sets_that_cannot_be_mixed():
    mix = MixLayer(SWITCH, classes=C)
    with pytest.raises(bm.MixError, match="use_multiprocessing"):
        MixDataset(Batches(use_multiprocessing=True), mix)
    with pytest.raises(bm.MixError, match="MixDataset"):
        MixDataset(Batches(), SWITCH)
    with pytest.raises(bm.MixError, match="epoch=-1"):
        MixDataset(Batches(), mix).set_epoch(-1)

    class Dicts(Batches):
        def __getitem__(self, index):
            return dict(zip("xy", PLAIN[index]))

    with pytest.raises(bm.MixError, match="batch 1 is a dict"):
        MixDataset(Dicts(), mix)[1]


def rows(tf, count=5):
    """Unequal batches: the last has a row less."""
    n = count * B - 1
    images = np.tile(IMAGES, (count, 1, 1, 1))[:n]
    return tf.data.Dataset.from_tensor_slices((images, np.tile(IDS, count)[:n])).batch(B)


def test_parallel_map_is_the_same_in_every_run(tf, batches):
    """Of Keras' layers two seeded runs agree on a part of the batches only."""
    mix = MixLayer(SWITCH, classes=C, seed=2)
    mapped = rows(tf, 20).apply(batches(mix, num_parallel_calls=8))
    assert mapped.element_spec[0] == tf.TensorSpec((None, H, W, 3), tf.uint8)
    assert mapped.element_spec[1] == tf.TensorSpec((None, C), tf.float32)
    for i, ((images, soft), (x, y)) in enumerate(zip(mapped, rows(tf, 20))):
        plan = bm.draw(SWITCH, bm.Key(2, 0, i), len(x), {"H": H, "W": W})
        np.testing.assert_array_equal(images.numpy(), bm.mix(x.numpy(), plan, "NHWC"))
        np.testing.assert_allclose(soft, bm.mix_labels(y.numpy(), plan, C), atol=1e-6)


def test_masks_in_a_graph(tf):
    """Keras' MixUp fails for them there."""
    data = {"images": IMAGES, "labels": IDS, "segmentation_masks": MASKS[..., None]}
    mix = MixLayer(SWITCH, classes=C)
    mapped = tf.data.Dataset.from_tensors(data).map(lambda b: mix(b, step=0, epoch=0))
    (got,) = mapped
    plan = bm.draw(SWITCH, bm.Key(0), B, {"H": H, "W": W})
    want = bm.fields.Ids("NHWC")(MASKS[..., None], plan)
    np.testing.assert_array_equal(got["segmentation_masks"].numpy(), want)


def test_a_graph_cannot_count(tf):
    """Keras repeats one mix in a function that is traced once; here it is an error."""
    mix = MixLayer(SWITCH, classes=C)
    with pytest.raises(bm.MixError, match="MixBatches"):
        rows(tf).map(lambda x, y: mix((x, y)))
    evaluated = rows(tf).map(lambda x, y: mix((x, y), training=False))
    assert evaluated.element_spec[1] == tf.TensorSpec((None, C), tf.float32)
    np.testing.assert_array_equal(next(iter(evaluated))[1], np.eye(C))


def test_fit_on_a_tf_pipeline(tf, batches):
    """Each epoch has its plans, on every backend; what is repeated needs its length."""
    arrays = tuple(np.concatenate(parts) for parts in zip(*PLAIN))
    plain = tf.data.Dataset.from_tensor_slices(arrays).batch(B)
    clean = plain.map(lambda x, y: MixLayer(OFF, classes=C)((x, y), training=False))
    for repeats, options in [(False, {}), (True, {"steps_per_epoch": 4})]:
        mixing = batches(MixLayer(OFF, classes=C, seed=1), **options)
        train = (plain.repeat() if repeats else plain).apply(mixing)
        net = model(rate=0.0)
        for first, end in [(0, 2), (1, 2)]:
            history = net.fit(
                train, initial_epoch=first, epochs=end, validation_data=clean, verbose=0,
                callbacks=[TellEpoch(mixing)], shuffle=False, **options,
            ).history  # fmt: skip
            want = losses_of_epochs(net, OFF, range(first, end))
            np.testing.assert_allclose(history["loss"], want, rtol=1e-5)
            np.testing.assert_allclose(history["val_loss"], want[-1], rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of this backend")
def test_compiled_by_xla(tf):
    """Keras draws inside the graph, with an operation that XLA does not have."""
    importlib.import_module("batchmix.adapters.tensorflow")
    mix = MixLayer(SWITCH, classes=C)
    traces = []

    @tf.function(jit_compile=True)
    def step(images, ids, plan):
        traces.append(1)
        return mix.mixer.apply((images, ids), plan)

    batch = (tf.constant(IMAGES), tf.constant(IDS))
    mix(batch, step=0)  # learns the form of the batch
    mixes = [step(*batch, mix.mixer.draw(batch, step=k)) for k in range(4)]
    for k, (images, _) in enumerate(mixes):
        np.testing.assert_array_equal(images.numpy(), mix((IMAGES, IDS), step=k)[0])
    assert len(traces) == 1


@pytest.mark.skipif(BACKEND != "jax", reason="of this backend")
def test_a_jitted_step_cannot_count():
    jax = importlib.import_module("jax")
    mix = MixLayer(SWITCH, classes=C)
    with pytest.raises(bm.MixError, match="traced once"):
        jax.jit(lambda x, y: mix((x, y)))(IMAGES, IDS)


@pytest.mark.skipif(BACKEND != "torch", reason="of this backend")
def test_a_torch_loader():
    data = importlib.import_module("torch.utils.data")
    torch = importlib.import_module("torch")
    mix = MixLayer(SWITCH, classes=C)
    loader = data.DataLoader(data.TensorDataset(torch.tensor(IMAGES), torch.tensor(IDS)), B)
    for x, y in loader:
        images, soft = mix((x, y))
    want = MixLayer(SWITCH, classes=C)((IMAGES, IDS))
    np.testing.assert_array_equal(images.numpy(), want[0])
    np.testing.assert_allclose(soft.numpy(), want[1], atol=1e-6)


def test_grain_reads_an_item_twice_alike():
    """Keras' layers give grain tensors of the backend, and another mix at each read."""
    grain = pytest.importorskip("grain")
    mix = MixLayer(SWITCH, classes=C)
    source = grain.MapDataset.source([(x, int(y)) for x, y in zip(IMAGES, IDS)]).batch(4)
    mapped = source.map_with_index(lambda i, b: mix(b, step=i, epoch=0))
    once, twice = mapped[1], mapped[1]
    assert isinstance(once[0], np.ndarray)
    np.testing.assert_array_equal(once[0], twice[0])
    np.testing.assert_array_equal(once[1], twice[1])
