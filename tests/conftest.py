"""Which frameworks the tests run on, and what tests share."""

import importlib
import os
import types

import numpy as np
import pytest

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
    )


def _torch():
    torch = importlib.import_module("torch")
    return types.SimpleNamespace(
        name="torch",
        array=lambda values, dtype: torch.tensor(np.array(values)).to(getattr(torch, dtype)),
        numpy=lambda x: (x.double() if x.is_floating_point() else x).numpy().astype(np.float64),
        dtype=lambda x: str(x.dtype).removeprefix("torch."),
        ids=lambda values: torch.tensor(values, dtype=torch.int64),
        copy=lambda x: x.clone(),
    )


MAKERS = {"numpy": _numpy, "torch": _torch}


@pytest.fixture(params=ASKED)
def xp(request):
    """A framework: a few functions to make and read its arrays. One asked for must be there."""
    return MAKERS[request.param]()
