"""Eight devices on the CPU, and JAX's own default of 32 bits; in a process without other tests or
with those of the contract: BATCHMIX_TEST_BACKENDS=jax python -m pytest tests/jax.
"""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture(autouse=True)
def narrow():
    """Tests of the contract have float64, and leave it on."""
    jax.config.update("jax_enable_x64", False)
