"""Tensors that the kernel for GPUs takes: on a GPU, or on the host where Triton interprets it."""

import os

import pytest

DEVICE = os.environ.get("BATCHMIX_TEST_DEVICE", "cpu")


@pytest.fixture
def device():
    """Where tensors go to be mixed by the kernel; without one these tests would show nothing."""
    from batchmix.backends import _torch_gpu

    assert _torch_gpu.device() == DEVICE, "see make test-gpu"
    return DEVICE
