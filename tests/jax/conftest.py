"""Eight devices on the CPU; run in a process of its own: python -m pytest tests/jax."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
