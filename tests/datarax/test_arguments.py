"""What the stage takes, refuses, and says."""

from __future__ import annotations

import doctest
import importlib
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from datarax.core.config import BatchMixOperatorConfig as TheirConfig
from datarax.operators.probabilistic_operator import (
    ProbabilisticOperator,
    ProbabilisticOperatorConfig,
)
from datarax.pipeline import Pipeline
from datarax.sources import MemorySource, MemorySourceConfig
from flax import nnx

import batchmix as bm
from batchmix.adapters.datarax import BatchMixOperator, BatchMixOperatorConfig
from batchmix.fields import Image
from batchmix.policies import MixUp, Schedule

ROWS, BATCH, HEIGHT, WIDTH = 24, 8, 7, 5


def data():
    image = jax.random.uniform(jax.random.key(0), (ROWS, HEIGHT, WIDTH, 2))
    return {"image": image, "label": jnp.arange(ROWS)}


def stage(rngs=None, **settings):
    config = BatchMixOperatorConfig(classes=ROWS, stream_name="mixup", **settings)
    return BatchMixOperator(config, rngs=rngs or nnx.Rngs(mixup=100))


def pipeline(rows=None, stages=None, **settings):
    source = MemorySource(MemorySourceConfig(), data() if rows is None else rows)
    stages = [stage(**settings)] if stages is None else stages
    return Pipeline(source=source, stages=stages, batch_size=BATCH, rngs=nnx.Rngs(0))


def test_one_hot_labels_need_no_classes():
    rows = data() | {"label": jnp.eye(ROWS)[data()["label"]]}
    mix = BatchMixOperator(
        BatchMixOperatorConfig(stream_name="mixup", alpha=0.4), rngs=nnx.Rngs(mixup=100)
    )
    for one, two in zip(pipeline(rows, [mix]), pipeline(alpha=0.4), strict=True):
        np.testing.assert_allclose(one["label"], two["label"], atol=1e-6)


def test_stages_on_one_stream_differ():
    rngs = nnx.Rngs(mixup=100)
    one, two = stage(rngs), stage(rngs)
    assert one.seed == 100
    assert two.seed != one.seed
    assert stage(nnx.Rngs(100)).seed == 100  # the default stream


def test_tables_and_a_batch_of_one():
    rows = {"x": jnp.arange(12.0).reshape(4, 3), "y": jnp.arange(4)}
    config = BatchMixOperatorConfig(data_field="x", label_field="y", layout="NC", classes=4)
    for size in (1, 4):
        mix = BatchMixOperator(config, rngs=nnx.Rngs(0))
        source = MemorySource(MemorySourceConfig(), rows)
        batch = Pipeline(source=source, stages=[mix], batch_size=size, rngs=nnx.Rngs(0)).step()
        np.testing.assert_allclose(batch["x"], batch["y"] @ rows["x"], rtol=1e-6)
        assert bool((batch["y"].max(1) == 1).all()) == (size == 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_field": "imag"}, "Did you mean 'image'"),
        ({"layout": "NHW"}, "layout 'NHW'"),
        ({"policy": MixUp(1.0), "pairing": "reverse"}, "A pairing is a value"),
    ],
)
def test_what_does_not_fit_is_an_error(settings, message):
    with pytest.raises(bm.MixError, match=message):
        pipeline(**settings).step()


def test_a_policy_of_none_mixes_nothing():
    batch, plain = pipeline(policy=None).step(), data()
    np.testing.assert_array_equal(batch["image"], plain["image"][:BATCH])
    np.testing.assert_array_equal(batch["label"], np.eye(ROWS)[:BATCH])
    assert not np.array_equal(pipeline().step()["image"], plain["image"][:BATCH])


def test_images_without_labels():
    rows = {"image": data()["image"]}
    got, want = pipeline(rows, label_field=None).step(), pipeline().step()
    np.testing.assert_allclose(got["image"], want["image"], rtol=1e-6)


def test_an_epoch_that_nobody_told_is_refused():
    policy = Schedule.off_after(MixUp(1.0), epoch=1)
    with pytest.raises(bm.MixError, match=r"(?s)nobody has told.*steps_per_epoch"):
        pipeline(policy=policy).step()
    pipe = pipeline(policy=policy, steps_per_epoch=2)
    softest = [float(pipe.step()["label"].max(1).min()) for _ in range(3)]
    assert max(softest[:2]) < 1
    assert softest[2] == 1


def test_the_rank_is_asked_of_the_process(monkeypatch):
    want = pipeline(rank=3).step()["label"]
    monkeypatch.setenv("RANK", "3")
    np.testing.assert_array_equal(pipeline().step()["label"], want)


def test_class_ids_need_classes():
    mix = BatchMixOperator(BatchMixOperatorConfig(), rngs=nnx.Rngs(0))
    with pytest.raises(bm.MixError, match="Pass classes="):
        pipeline(stages=[mix]).step()


def test_ids_outside_of_the_classes_show():
    label = pipeline(data() | {"label": jnp.arange(ROWS) + 20}).step()["label"]
    assert np.isnan(label).any()
    assert not np.isnan(label[:3]).all()


def test_arguments():
    with pytest.raises(ValueError, match="mode"):
        BatchMixOperatorConfig(mode="cutout")
    with pytest.raises(bm.MixError, match="steps_per_epoch"):
        BatchMixOperatorConfig(steps_per_epoch=0)
    with pytest.raises(bm.MixError, match="datarax"):
        BatchMixOperator(TheirConfig(), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="rngs"):
        BatchMixOperator(BatchMixOperatorConfig())
    assert BatchMixOperatorConfig(fields={"x": Image("NC")}) != BatchMixOperatorConfig()


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_wrappers_that_act_row_by_row_are_refused(probability):
    config = ProbabilisticOperatorConfig(operator=stage(), probability=probability)
    wrapped = ProbabilisticOperator(config, rngs=nnx.Rngs(0, probabilistic=0))
    with pytest.raises(bm.MixError, match="policy=Sometimes"):
        pipeline(stages=[wrapped]).step()


def test_a_policy_of_changing_parts_is_told():
    class Sharp:
        """A mask in every other batch only."""

        def sample(self, rows):
            paste = MixUp(1.0).sample(rows)
            mask = np.ones((BATCH, HEIGHT, WIDTH), np.float32)
            return replace(paste, mask=mask) if rows.key.step % 2 else paste

    pipe = pipeline(policy=Sharp())
    with pytest.raises(Exception, match="one kind of plan"):
        jax.block_until_ready([pipe.step() for _ in range(2)])


def test_docstrings_run():
    module = importlib.import_module("batchmix.adapters.datarax")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
