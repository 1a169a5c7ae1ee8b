"""Programs that never import the adapter: what works, and the error where a plan must be known."""

import subprocess
import sys

import pytest


def run(code):
    """Output of a fresh interpreter."""
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


PLAN = """import jax, numpy as np, batchmix as bm
x = np.ones((2, 3), np.float32)
plan = bm.draw(bm.policies.MixUp(), bm.Key(0), 2, {})
f = lambda plan, x: bm.mix(x, plan, "NC")
"""


@pytest.mark.parametrize("call", ["jax.jit(f)", "jax.vmap(f)", "jax.jit(jax.vmap(f))"])
def test_a_plan_that_jax_does_not_know(call):
    code = f"try: {call}(plan, x)\nexcept bm.MixError as e: print(e)"
    assert "import batchmix.adapters.jax" in run(PLAN + code)


def test_what_works_without_the_adapter():
    """Eager, and with the plan as a constant of the program."""
    code = "import jax.numpy as jnp\nbm.mix(jnp.asarray(x), plan, 'NC')\n"
    code += "print(jax.jit(lambda x: bm.mix(x, plan, 'NC'))(x).shape)"
    assert run(PLAN + code) == "(2, 3)\n"
