"""A small Flax network on digits, with and without mixing: plans are drawn on the host.

python examples/flax_nnx.py                needs batchmix, flax, optax, scikit-learn
"""

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import batchmix as bm
import batchmix.adapters.jax  # makes a plan an argument of a compiled step
from batchmix.policies import CutMix, MixUp, Switch

EPOCHS, BATCH, CLASSES = 30, 64, 10


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 16, 64, rngs=rngs)
        self.out = nnx.Linear(64, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), (2, 2))
        return self.out(nnx.relu(self.hidden(x.reshape(len(x), -1))))


@nnx.jit
def step(model, optimizer, x, y, plan):
    x, target = bm.mix(x, plan, "NHWC"), bm.mix_labels(y, plan, CLASSES, smoothing=0.05)

    def loss(model):
        return optax.softmax_cross_entropy(model(x), target).mean()

    optimizer.update(model, nnx.grad(loss)(model))


def train(policy, x, y):
    model = Net(nnx.Rngs(0))  # the same weights each time
    optimizer = nnx.Optimizer(model, optax.adam(2e-3), wrt=nnx.Param)
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(x))
        for k in range(len(x) // BATCH):
            rows = order[k * BATCH : (k + 1) * BATCH]
            plan = bm.draw(policy, bm.Key(0, epoch, k), BATCH, {"H": 8, "W": 8})
            step(model, optimizer, x[rows], y[rows], plan)
    return model


images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
train_x, test_x, train_y, test_y = images[:1000], images[1000:], labels[:1000], labels[1000:]
for name, policy in {"no mixing": None, "mixing": Switch([MixUp(0.2), CutMix(1.0)])}.items():
    model = train(policy, train_x, train_y)
    print(f"{name}: test accuracy {bm.metrics.accuracy(model(test_x), jax.device_put(test_y)):.3f}")
