"""BatchMix on the Keras backend that KERAS_BACKEND names: one process for each of the three.

What `keras.layers.MixUp` and `CutMix` get wrong has a test each.
"""

import copy
import importlib
import json
import pickle
from dataclasses import dataclass

import keras
import numpy as np
import pytest

import batchmix as bm
from batchmix.adapters.keras import BatchMix
from batchmix.fields import Features, Labels
from batchmix.pairing import Reverse, Within
from batchmix.policies import CutMix, MixUp, PerPair, Schedule, Sometimes, Switch

BACKEND = keras.config.backend()
B, H, W, C = 8, 8, 6, 8
SWITCH = Switch([MixUp(1.0), CutMix()])
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (B, H, W, 3)).astype(np.uint8)
IDS = np.arange(B)
MASKS = RNG.choice([0, 7, 255], (B, H, W)).astype(np.uint8)


def host(x):
    """As a NumPy array."""
    return np.asarray(x.numpy() if hasattr(x, "numpy") else x)


def of_backend(x):
    """As a tensor of the Keras backend."""
    return keras.ops.convert_to_tensor(x)


@pytest.fixture(scope="module")
def tf():
    """TensorFlow, whose pipelines feed every backend."""
    return importlib.import_module("tensorflow")


# two lines of use, on arrays of NumPy and of the backend


@pytest.mark.parametrize("make", [np.asarray, of_backend])
def test_images_labels_and_masks_follow_one_plan(make):
    data = {"images": make(IMAGES), "labels": make(IDS), "segmentation_masks": make(MASKS)}
    mix = BatchMix(SWITCH, classes=C, seed=3)
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
    mix, twin = BatchMix(SWITCH, classes=C), BatchMix(SWITCH, classes=C)
    first, second = mix((IMAGES, IDS)), mix([IMAGES, IDS])
    assert (type(first), type(second)) == (tuple, list)
    assert not np.array_equal(first[0], second[0])
    for step, got in enumerate([first, second]):
        np.testing.assert_array_equal(got[0], twin((IMAGES, IDS), step=step)[0])


@pytest.mark.parametrize("masks", [MASKS, MASKS[..., None], MASKS.astype(np.int32)])
def test_masks_keep_shape_dtype_and_ids(masks):
    """CutMix of Keras gives them the channels of the image, MixUp one per row."""
    mix = BatchMix(MixUp(1.0), classes=C)
    got = mix({"images": IMAGES, "labels": IDS, "segmentation_masks": masks}, step=0)
    got = got["segmentation_masks"]
    assert (got.shape, got.dtype) == (masks.shape, masks.dtype)
    assert set(np.unique(got)) <= {0, 7, 255}
    assert not np.array_equal(got, masks)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_labels_match_pixels(size):
    """The label of Keras' CutMix is off by up to 0.4 at 4 x 4."""
    mix = BatchMix(CutMix(), classes=B)
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
    mix = BatchMix(MixUp(1.0), classes=C)
    soft = host(mix((of_backend(IMAGES), of_backend(IDS.astype(dtype))), step=0)[1])
    assert (soft.shape, str(soft.dtype)) == ((B, C), "float32")
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    one_hot = of_backend(np.eye(C, dtype=dtype))
    np.testing.assert_allclose(host(mix((IMAGES, host(one_hot)), step=0)[1]), soft, atol=1e-6)
    with pytest.raises(bm.MixError, match="classes=None"):
        BatchMix(MixUp(1.0))((IMAGES, IDS.astype(dtype)))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float16", "float32"])
def test_dtypes_are_those_of_the_data(policy, dtype):
    """Keras makes 8-bit images float32, and fails under mixed_bfloat16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mix = BatchMix(SWITCH, classes=C)
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
    mix = BatchMix(CutMix(), classes=C, data_format=form)
    mixed = mix((images, IDS), step=0)[0]
    mixed = np.moveaxis(mixed, 1, -1) if form == "channels_first" else mixed
    np.testing.assert_array_equal(mixed, BatchMix(CutMix(), classes=C)((IMAGES, IDS), step=0)[0])
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(form)
    try:
        assert BatchMix(CutMix()).data_format == form
    finally:
        keras.config.set_image_data_format(before)
    with pytest.raises(bm.MixError, match="data_format"):
        BatchMix(CutMix(), data_format="last")


def test_video_boxes_span_all_frames():
    video = np.broadcast_to(IMAGES[:, None], (B, 4, H, W, 3))
    mixed = BatchMix(CutMix(), classes=C)((video, IDS), step=1)[0]
    np.testing.assert_array_equal(mixed, np.broadcast_to(mixed[:, :1], mixed.shape))
    assert not np.array_equal(mixed, video)


def test_without_training_only_labels_become_soft():
    mix = BatchMix(SWITCH, classes=C, smoothing=0.1)
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
    mix = BatchMix(MixUp(1.0), classes=C)
    got, soft = mix((IMAGES, IDS), step=0, other=(255 - IMAGES, IDS[::-1].copy()))
    plan = bm.draw(MixUp(1.0), bm.Key(0), B, {"H": H, "W": W})
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
        BatchMix(MixUp(1.0), classes=C)(data)


# storing


@dataclass(frozen=True)
class Half:
    """A policy of a user."""

    share: float = 0.5

    def sample(self, rows):
        return MixUp(self.share).sample(rows)


keras.saving.get_custom_objects()["Half"] = Half
STORED = [
    BatchMix(MixUp(0.2), classes=10, seed=4, name="mix"),
    BatchMix(None, smoothing=0.1, classes=3, data_format="channels_first"),
    BatchMix(PerPair(SWITCH), pairing=Reverse(), rank=2),
    BatchMix(Sometimes(Schedule({0: MixUp(0.8), 3: None}), 0.5), pairing=Within(2, Reverse())),
    BatchMix(Half(0.25), fields={"x": Features("NC"), ("y", 0): Labels(4)}),
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
    layer = BatchMix(SWITCH, classes=C, seed=9)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(
            again((IMAGES, IDS), step=2)[0], layer((IMAGES, IDS), step=2)[0]
        )


def test_stored_layer_gives_the_same_mix():
    layer = BatchMix(SWITCH, classes=C, seed=9)
    again = BatchMix.from_config(layer.get_config())
    np.testing.assert_array_equal(layer((IMAGES, IDS))[0], again((IMAGES, IDS))[0])
    with pytest.raises(bm.MixError, match="get_custom_objects"):
        BatchMix.from_config({**layer.get_config(), "policy": {"class": "Other", "fields": {}}})


# pipelines


def model():
    """A small network on soft labels."""
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(C)]
    net = keras.Sequential([keras.Input((H, W, 3)), *layers])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    net.compile(optimizer="sgd", loss=loss, metrics=["accuracy"])
    return net


class Batches(keras.utils.PyDataset):
    """Five batches, mixed by their index and epoch."""

    def __init__(self, mix, **kwargs):
        super().__init__(**kwargs)
        self.mix, self.epoch, self.seen = mix, 0, {}

    def __len__(self):
        return 5

    def __getitem__(self, index):
        epoch = self.epoch
        images, soft = self.mix((IMAGES, IDS), step=index, epoch=epoch)
        self.seen.setdefault((epoch, index), images)
        return images, soft

    def on_epoch_end(self):
        self.epoch += 1


@pytest.mark.parametrize("workers", [1, 3])
def test_py_dataset(workers):
    mix = BatchMix(SWITCH, classes=C, seed=1)
    data = Batches(mix, workers=workers)
    history = model().fit(data, epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()
    for (epoch, index), images in data.seen.items():
        plan = bm.draw(SWITCH, bm.Key(1, epoch, index), B, {"H": H, "W": W})
        np.testing.assert_array_equal(images, bm.mix(IMAGES, plan, "NHWC"))
    # Keras may look at the first batches once more before the first epoch
    whole = [e for e in range(3) if all((e, i) in data.seen for i in range(5))]
    assert len(whole) >= 2


def rows(tf, count=5):
    """Unequal batches: the last has a row less."""
    n = count * B - 1
    images = np.tile(IMAGES, (count, 1, 1, 1))[:n]
    return tf.data.Dataset.from_tensor_slices((images, np.tile(IDS, count)[:n])).batch(B)


def test_parallel_map_is_the_same_in_every_run(tf):
    """Of Keras' layers two seeded runs agree on a part of the batches only."""
    mix = BatchMix(SWITCH, classes=C, seed=2)
    mapped = rows(tf, 20).enumerate().map(lambda i, b: mix(b, step=i), num_parallel_calls=8)
    assert mapped.element_spec[0] == tf.TensorSpec((None, H, W, 3), tf.uint8)
    assert mapped.element_spec[1] == tf.TensorSpec((None, C), tf.float32)
    for i, ((images, soft), (x, y)) in enumerate(zip(mapped, rows(tf, 20))):
        plan = bm.draw(SWITCH, bm.Key(2, 0, i), len(x), {"H": H, "W": W})
        np.testing.assert_array_equal(images.numpy(), bm.mix(x.numpy(), plan, "NHWC"))
        np.testing.assert_allclose(soft, bm.mix_labels(y.numpy(), plan, C), atol=1e-6)


def test_masks_in_a_graph(tf):
    """Keras' MixUp fails for them there."""
    data = {"images": IMAGES, "labels": IDS, "segmentation_masks": MASKS[..., None]}
    mix = BatchMix(SWITCH, classes=C)
    mapped = tf.data.Dataset.from_tensors(data).enumerate().map(lambda i, b: mix(b, step=i))
    (got,) = mapped
    plan = bm.draw(SWITCH, bm.Key(0), B, {"H": H, "W": W})
    want = bm.fields.Ids("NHWC")(MASKS[..., None], plan)
    np.testing.assert_array_equal(got["segmentation_masks"].numpy(), want)


def test_a_graph_cannot_count(tf):
    """Keras repeats one mix in a function that is traced once; here it is an error."""
    mix = BatchMix(SWITCH, classes=C)
    with pytest.raises(bm.MixError, match=r"enumerate\(\)\.map"):
        rows(tf).map(lambda x, y: mix((x, y)))
    evaluated = rows(tf).map(lambda x, y: mix((x, y), training=False))
    assert evaluated.element_spec[1] == tf.TensorSpec((None, C), tf.float32)
    np.testing.assert_array_equal(next(iter(evaluated))[1], np.eye(C))


def test_fit_on_a_tf_pipeline(tf):
    mix = BatchMix(SWITCH, classes=C)
    train = rows(tf).repeat().enumerate().map(lambda i, b: mix(b, step=i), tf.data.AUTOTUNE)
    plain = rows(tf).map(lambda x, y: mix((x, y), training=False))
    fitted = model().fit(
        train, epochs=2, steps_per_epoch=5, validation_data=plain, verbose=0, shuffle=False
    )
    assert np.isfinite(fitted.history["loss"] + fitted.history["val_loss"]).all()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of this backend")
def test_compiled_by_xla(tf):
    """Keras draws inside the graph, with an operation that XLA does not have."""
    importlib.import_module("batchmix.adapters.tensorflow")
    mix = BatchMix(SWITCH, classes=C)
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
    mix = BatchMix(SWITCH, classes=C)
    with pytest.raises(bm.MixError, match="traced once"):
        jax.jit(lambda x, y: mix((x, y)))(IMAGES, IDS)


@pytest.mark.skipif(BACKEND != "torch", reason="of this backend")
def test_a_torch_loader():
    data = importlib.import_module("torch.utils.data")
    torch = importlib.import_module("torch")
    mix = BatchMix(SWITCH, classes=C)
    loader = data.DataLoader(data.TensorDataset(torch.tensor(IMAGES), torch.tensor(IDS)), B)
    for x, y in loader:
        images, soft = mix((x, y))
    want = BatchMix(SWITCH, classes=C)((IMAGES, IDS))
    np.testing.assert_array_equal(images.numpy(), want[0])
    np.testing.assert_allclose(soft.numpy(), want[1], atol=1e-6)


def test_grain_reads_an_item_twice_alike():
    """Keras' layers give grain tensors of the backend, and another mix at each read."""
    grain = importlib.import_module("grain")
    mix = BatchMix(SWITCH, classes=C)
    source = grain.MapDataset.source([(x, int(y)) for x, y in zip(IMAGES, IDS)]).batch(4)
    mapped = source.map_with_index(lambda i, b: mix(b, step=i))
    once, twice = mapped[1], mapped[1]
    assert isinstance(once[0], np.ndarray)
    np.testing.assert_array_equal(once[0], twice[0])
    np.testing.assert_array_equal(once[1], twice[1])
