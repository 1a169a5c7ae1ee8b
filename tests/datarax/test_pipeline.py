"""The stage in real Datarax pipelines: how it runs, resumes, and what it leaves alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from datarax.core.element_batch import Batch
from datarax.operators import ElementOperator, ElementOperatorConfig
from datarax.pipeline import Pipeline
from datarax.sources import MemorySource, MemorySourceConfig
from flax import nnx

import batchmix as bm
from batchmix.adapters.datarax import BatchMixOperator, BatchMixOperatorConfig
from batchmix.fields import Image, Labels, Mask
from batchmix.pairing import Reverse
from batchmix.policies import CutMix, MixUp, PerBatch, Schedule, Sometimes, Switch

ROWS, BATCH, HEIGHT, WIDTH = 24, 8, 7, 5
SIZE = {"H": HEIGHT, "W": WIDTH}
BOTH = Sometimes(Switch([MixUp(1.0), CutMix(1.0)]), 0.7)
SETTINGS = {
    "mixup": {"mode": "mixup", "alpha": 0.4},
    "cutmix": {"mode": "cutmix"},
    "both": {"policy": BOTH},
    "reverse": {"policy": PerBatch(CutMix()), "pairing": Reverse()},
}


def data(dtype="float32"):
    """Image i is filled with i, so that pixels tell where they came from."""
    image = jnp.broadcast_to(jnp.arange(ROWS)[:, None, None, None], (ROWS, HEIGHT, WIDTH, 2))
    return {
        "image": image.astype(dtype),
        "label": jnp.arange(ROWS),
        "label_idx": jnp.arange(ROWS),
        "flag": jnp.arange(ROWS) % 2 == 0,
        "mask": image[..., 0].astype("uint8"),
    }


def stage(rngs=None, **settings):
    config = BatchMixOperatorConfig(classes=ROWS, stream_name="mixup", **settings)
    return BatchMixOperator(config, rngs=rngs or nnx.Rngs(mixup=100))


def pipeline(rows=None, stages=None, **settings):
    source = MemorySource(MemorySourceConfig(), data() if rows is None else rows)
    stages = [stage(**settings)] if stages is None else stages
    return Pipeline(source=source, stages=stages, batch_size=BATCH, rngs=nnx.Rngs(0))


def plan(step, policy, epoch=0, **options):
    return bm.draw(policy, bm.Key(100, epoch, step), BATCH, SIZE, **options)


def assert_same(a, b):
    assert len(a) == len(b)
    for one, two in zip(a, b):
        assert one.keys() == two.keys()
        for name in one:
            assert one[name].dtype == two[name].dtype
            np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_step_iteration_and_scan_are_equal(settings):
    by_step = pipeline(**settings)
    batches = [by_step.step() for _ in range(3)]
    assert_same(list(pipeline(**settings)), batches)
    scanned = pipeline(**settings).scan(lambda batch: batch, length=3)
    assert_same([jax.tree.map(lambda x, k=k: x[k], scanned) for k in range(3)], batches)


def test_the_plans_are_those_of_every_other_framework():
    rows = jax.tree.map(np.asarray, data())
    for k, batch in enumerate(pipeline(policy=BOTH)):
        drawn, part = plan(k, BOTH), slice(k * BATCH, (k + 1) * BATCH)
        mixed = bm.mix(rows["image"][part], drawn, "NHWC")
        np.testing.assert_allclose(batch["image"], mixed, rtol=1e-6)
        expected = bm.mix_labels(rows["label"][part], drawn, ROWS)
        np.testing.assert_allclose(batch["label"], expected, atol=1e-7)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_labels_match_pixels(settings):
    for batch in pipeline(**settings):
        image, label = np.asarray(batch["image"]), np.asarray(batch["label"])
        mean = image.mean((1, 2, 3))
        np.testing.assert_allclose(mean, label @ np.arange(ROWS), rtol=1e-5)
        np.testing.assert_allclose(label.sum(1), 1, rtol=1e-6)


def test_the_share_of_a_cut_is_counted_in_pixels():
    for batch in pipeline(mode="cutmix"):
        own = np.asarray(batch["label_idx"])
        share = (np.asarray(batch["image"]) == own[:, None, None, None]).mean((1, 2, 3))
        np.testing.assert_allclose(np.asarray(batch["label"])[np.arange(BATCH), own], share, 1e-6)


def test_only_named_fields_change():
    for k, batch in enumerate(pipeline()):
        for name in ("label_idx", "flag", "mask"):
            before = data()[name][k * BATCH : (k + 1) * BATCH]
            assert batch[name].dtype == before.dtype
            np.testing.assert_array_equal(batch[name], before)


def test_named_fields_follow_one_plan():
    fields = {"image": Image("NHWC"), "label": Labels(ROWS), "mask": Mask("NHW")}
    for batch in pipeline(policy=CutMix(), fields=fields):
        assert batch["mask"].dtype == np.uint8
        np.testing.assert_array_equal(batch["mask"], batch["image"][..., 0])


def test_chance_and_choice_work():
    batches = list(pipeline(policy=BOTH)) + list(pipeline(rngs=nnx.Rngs(mixup=7), policy=BOTH))
    image = np.concatenate([batch["image"] for batch in batches])
    own = np.concatenate([batch["label_idx"] for batch in batches])
    same = (image == own[:, None, None, None]).all((1, 2, 3))
    blended = (image != np.round(image)).any((1, 2, 3))
    kinds = np.concatenate([plan(k, BOTH).kind for k in range(3)])
    assert (same[:ROWS] >= (kinds == -1)).all()
    assert {-1, 0, 1} == set(kinds.tolist())
    assert 0.1 < same.mean() < 0.6
    assert blended.any()
    assert (~blended & ~same).any()


def test_no_row_is_its_own_partner():
    for batch in pipeline(policy=MixUp(1.0)):
        own = np.asarray(batch["label"])[np.arange(BATCH), batch["label_idx"]]
        assert (own < 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bfloat16", "float16"])
def test_dtypes_are_kept_and_right(dtype):
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, HEIGHT, WIDTH, 2))
    noise = jnp.asarray(noise).astype(dtype)
    for k, batch in enumerate(pipeline({"image": noise, "label": jnp.arange(ROWS)}, alpha=1.0)):
        expected = bm.mix(
            np.asarray(noise[k * BATCH : (k + 1) * BATCH]), plan(k, MixUp(1.0)), "NHWC"
        )
        assert batch["image"].dtype == dtype
        np.testing.assert_allclose(
            np.asarray(batch["image"], np.float64), expected.astype(np.float64),
            rtol=0 if dtype == "uint8" else 2**-7,
        )  # fmt: skip


def test_epochs_differ_and_the_first_repeats():
    same = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), data())
    rows = same | {"label": jnp.tile(jnp.arange(BATCH), 3)}  # all batches have one content
    pipe = pipeline(rows, alpha=1.0)
    labels = []
    for _ in range(2):
        pipe._position[...] = jnp.int32(0)
        labels += [batch["label"] for batch in pipe]
    assert len({np.asarray(label).tobytes() for label in labels}) == 6
    again = [batch["label"] for batch in pipeline(rows, alpha=1.0)]
    np.testing.assert_array_equal(again, labels[:3])


def test_plans_do_not_depend_on_the_contents():
    other = data() | {"image": data()["image"] * 3 + 1, "flag": ~data()["flag"]}
    for one, two in zip(pipeline(), pipeline(other), strict=True):
        np.testing.assert_array_equal(one["label"], two["label"])


def test_resume():
    pipe = pipeline(policy=BOTH)
    iterator = iter(pipe)
    next(iterator)
    state = iterator.get_state()
    rest = list(iterator)
    assert len(rest) == 2
    again = iter(pipe)  # the same pipeline, set back
    again.set_state(state)
    assert_same(list(again), rest)
    fresh = iter(pipeline(policy=BOTH))  # another process
    fresh.set_state(state)
    assert_same(list(fresh), rest)


def test_the_count_is_in_the_state_of_the_module():
    pipe = pipeline(policy=BOTH)
    pipe.step()
    state = jax.tree.map(jnp.copy, nnx.state(pipe))  # the state itself refers to the live values
    rest = [pipe.step(), pipe.step()]
    fresh = pipeline(policy=BOTH)
    nnx.update(fresh, state)
    assert_same([fresh.step(), fresh.step()], rest)


def test_a_policy_may_look_at_the_epoch():
    policy = Schedule({0: None, 1: MixUp(1.0)})
    pipe = pipeline(policy=policy, steps_per_epoch=3)
    first = [pipe.step()["label"] for _ in range(3)]
    assert all((np.asarray(label).max(1) == 1).all() for label in first)
    second = np.asarray(pipe.step()["label"])
    rows = np.asarray(data()["label"][:BATCH])
    expected = bm.mix_labels(rows, plan(0, policy, epoch=1), ROWS)
    np.testing.assert_allclose(second, expected, atol=1e-7)


def test_stages_chain():
    def double(element, key=None):
        return element.update_data({"image": element.data["image"] * 2})

    prep = ElementOperator(ElementOperatorConfig(stochastic=False), fn=double, rngs=nnx.Rngs(0))
    for one, two in zip(pipeline(stages=[prep, stage()]), pipeline(), strict=True):
        np.testing.assert_allclose(one["image"], 2 * two["image"], rtol=1e-6)
        np.testing.assert_array_equal(one["label"], two["label"])


def test_padding_is_mixed_with_nobody():
    valid = jnp.arange(ROWS) % BATCH < 5  # three rows of each batch are padding
    rows = data() | {"valid_mask": valid}
    rows["image"] = jnp.where(valid[:, None, None, None], rows["image"], -100.0)
    for k, batch in enumerate(pipeline(rows, policy=MixUp(1.0))):
        image, label = np.asarray(batch["image"]), np.asarray(batch["label"])
        assert (image[:5] >= 0).all()
        assert (image[5:] == -100).all()
        mixed = valid[:BATCH] & (plan(k, MixUp(1.0)).partner < 5)
        np.testing.assert_array_equal(label.max(1) < 1, mixed)
        np.testing.assert_allclose(image.mean((1, 2, 3))[:5], (label @ np.arange(ROWS))[:5], 1e-5)
        np.testing.assert_array_equal(batch["valid_mask"], valid[:BATCH])


def test_a_batch_object():
    valid = jnp.array([True] * 5 + [False] * 3)
    rows = jax.tree.map(lambda x: x[:BATCH], data())
    batch = Batch.from_parts(data=rows, states={}, valid_mask=valid, validate=False)
    mix = stage(alpha=1.0)
    mixed = mix(batch)
    label = np.asarray(mixed.data.get_value()["label"])
    spared = ~valid | (plan(0, MixUp(1.0)).partner >= 5)
    np.testing.assert_array_equal(label.max(1) == 1, spared)
    np.testing.assert_array_equal(mixed.valid_mask[...], valid)
    full = Batch.from_parts(data=rows, states={}, validate=False)
    assert_same([mix(full).data.get_value()], [pipeline(stages=[_second()]).step()])


def _second():
    """A stage whose first batch is its number 1."""
    mix = stage(alpha=1.0)
    mix.count[...] += 1
    return mix


def test_nan_stays_where_it_is():
    rows = data()
    rows["image"] = rows["image"].at[0].set(jnp.nan)
    drawn = plan(0, CutMix())
    batch = pipeline(rows, mode="cutmix").step()
    bad = {int(i) for i in np.flatnonzero(np.isnan(batch["image"]).any((1, 2, 3)))}
    box = drawn.box[drawn.partner == 0]
    assert bad <= {0, *np.flatnonzero(drawn.partner == 0).tolist()}
    area = (box[:, :, 1] - box[:, :, 0]).prod(1)
    got = np.isnan(batch["image"][np.flatnonzero(drawn.partner == 0)]).mean((1, 2, 3))
    np.testing.assert_allclose(got, area / (HEIGHT * WIDTH), atol=1e-7)


def test_the_spec_says_what_comes_out():
    mix = stage(mode="cutmix")
    before = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), data())
    spec, batch = mix.output_spec(before), pipeline(stages=[mix]).step()
    assert {n: (s.shape, s.dtype) for n, s in spec.items()} == {
        n: (x.shape[1:], x.dtype) for n, x in batch.items()
    }


def test_one_trace_for_all_batches(monkeypatch):
    traced = []
    apply = bm.Mixer.apply
    monkeypatch.setattr(bm.Mixer, "apply", lambda *a, **k: (traced.append(1), apply(*a, **k))[1])
    assert len(list(pipeline(policy=BOTH))) == 3
    assert len(traced) == 1
