"""Which frameworks the tests run on, and what tests share."""

import importlib
import os
import types

import numpy as np
import pytest

# the kernel for GPUs, interpreted: right, and slow, so that there is a part of the cases
INTERPRETED = os.environ.get("BATCHMIX_KERNEL") == "triton"
if INTERPRETED:
    import interpreted

    interpreted.quicken()

ASKED = os.environ.get("BATCHMIX_TEST_BACKENDS", "numpy torch").split()


def _numpy():
    import ml_dtypes

    dtypes = {"bfloat16": ml_dtypes.bfloat16}
    return types.SimpleNamespace(
        name="numpy",
        array=lambda values, dtype: np.array(values).astype(dtypes.get(dtype, dtype)),
        numpy=lambda x: x if x.dtype.name in ("int64", "float64") else x.astype(np.float64),
        dtype=lambda x: x.dtype.name,
        ids=lambda values: np.asarray(values, np.int64),
        copy=np.copy,
        writes=True,
        looks=True,
        compiled=None,
    )


def _torch():
    torch = importlib.import_module("torch")
    device = os.environ.get("BATCHMIX_TEST_DEVICE", "cpu")  # cuda, where there is one
    return types.SimpleNamespace(
        name="torch",
        array=lambda values, dtype: torch.tensor(np.array(values)).to(
            device, getattr(torch, dtype)
        ),
        numpy=lambda x: (x.double() if x.is_floating_point() else x).cpu().numpy().astype(float),
        dtype=lambda x: str(x.dtype).removeprefix("torch."),
        ids=lambda values: torch.tensor(values, dtype=torch.int64, device=device),
        copy=lambda x: x.clone(),
        writes=True,
        looks=device == "cpu" and not INTERPRETED,
        compiled=None,  # seconds for each shape; test_torch compiles a few
    )


def _jax():
    jax = importlib.import_module("jax")
    importlib.import_module("batchmix.adapters.jax")  # plans become arguments of jitted functions
    jax.config.update("jax_enable_x64", True)  # else there is no float64
    return types.SimpleNamespace(
        name="jax",
        # converted by NumPy: JAX would compile a program for each shape
        array=lambda values, dtype: jax.numpy.asarray(np.array(values).astype(np.dtype(dtype))),
        numpy=lambda x: np.asarray(x).astype(np.float64),
        dtype=lambda x: x.dtype.name,
        ids=lambda values: jax.numpy.asarray(np.asarray(values, np.int64)),
        copy=jax.numpy.array,
        writes=False,
        looks=True,
        compiled=jax.jit,
    )


def _tensorflow():
    tf = importlib.import_module("tensorflow")
    importlib.import_module("batchmix.adapters.tensorflow")  # plans become arguments of tf.function
    return types.SimpleNamespace(
        name="tensorflow",
        array=lambda values, dtype: tf.cast(tf.constant(np.array(values)), dtype),
        numpy=lambda x: x.numpy().astype(np.float64),
        dtype=lambda x: x.dtype.name,
        ids=lambda values: tf.constant(values, tf.int64),
        copy=tf.identity,
        writes=False,
        looks=True,
        compiled=tf.function,
    )


MAKERS = {"numpy": _numpy, "torch": _torch, "jax": _jax, "tensorflow": _tensorflow}


@pytest.fixture(params=ASKED)
def xp(request):
    """A framework: a few functions to make and read its arrays. One asked for must be there.

    `writes`: whether arrays can be written to. `looks`: whether labels are looked at before they
    are mixed; a GPU would have to be waited for. `compiled`: makes a compiled function of one that
    takes a plan and arrays, or None.
    """
    return MAKERS[request.param]()
