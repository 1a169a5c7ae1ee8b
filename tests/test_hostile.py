"""Everything that Python can pass: each verb answers rightly, or refuses with a MixError."""

import itertools
import tempfile
import warnings

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.flop_counter import FlopCounterMode

import batchmix as bm
from batchmix import losses, metrics
from batchmix._mix import mix_ids
from batchmix.fields import BoundingBoxes
from checks import ROUTES, taken

B, C = 4, 5
RNG = np.random.default_rng(0)
PLAN = bm.Plan(
    [1, 2, 0, 3], [[[1, 6], [0, 5]], [[0, 6], [0, 7]], [[2, 4], [3, 6]], [[0, 6], [0, 7]]],
    [1, 0.25, 0.75, 1], "HW", (6, 7),
)  # fmt: skip
PIXELS = RNG.standard_normal((B, 2, 6, 7)).astype(np.float32)
BYTES = RNG.integers(0, 256, (B, 6, 7, 3), np.uint8)
MASKS = RNG.integers(-9, 2**40, (B, 6, 7))
IDS = np.array([0, 4, 2, 2])
SOFT = RNG.random((B, C), np.float32)
BOXES = np.float32([[[1, 2, 5, 6]]] * B)
PAIRS = bm.pairs(IDS, PLAN)
# verb -> what it does, and the arrays that it is given
VERBS = {
    "mix": (lambda x: bm.mix(x, PLAN, "NCHW"), PIXELS),
    "mix bytes": (lambda x: bm.mix(x, PLAN, "NHWC"), BYTES),
    "mix out": (lambda x: bm.mix(x, PLAN, "NCHW", out=x), PIXELS),
    "mix other": (lambda x, y: bm.mix(x, PLAN, "NCHW", other=y), PIXELS, PIXELS[::-1].copy()),
    "ids": (lambda x: mix_ids(x, PLAN, "NHW"), MASKS),
    "labels": (lambda y: bm.mix_labels(y, PLAN, C, smoothing=0.1), IDS),
    "soft labels": (lambda y: bm.mix_labels(y, PLAN), SOFT),
    "pairs": (lambda y: bm.pairs(y, PLAN)[1], IDS),
    "stack": (lambda x: bm.mix_stack(x, PLAN, "NCHW"), PIXELS),
    "normalize": (lambda x: bm.mix_normalize(x, PLAN, [9] * 3, [2] * 3), BYTES),
    "boxes": (lambda x: BoundingBoxes("xywh")(x, PLAN), BOXES),
    "soft loss": (losses.soft_cross_entropy, SOFT, SOFT),
    "binary loss": (losses.soft_binary_cross_entropy, SOFT, SOFT),
    "accuracy": (metrics.accuracy, SOFT, IDS),
    "nll": (metrics.nll, SOFT, IDS),
    "ece": (metrics.ece, SOFT, IDS),
}


METRICS = ["accuracy", "nll", "ece"]
HOST = ["boxes", *METRICS]  # what is counted on the host
BLENDED = ["mix", "mix bytes", "mix out", "mix other", "soft labels", "stack", "boxes",
           "soft loss", "binary loss"]  # fmt: skip
LABELS = ["labels", *METRICS]


def strided(a):
    """The same values in memory with gaps, backwards, in another order of axes."""
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(wide[..., 0], 0, -1)), -1, 0)[::-1][::-1]


def unaligned(a):
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    view = buffer[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def overlapping(a):
    """Rows that begin within the one before."""
    step = a.strides[0] - a.itemsize if a.strides[0] > a.itemsize else 0
    return np.lib.stride_tricks.as_strided(a.copy(), a.shape, (step, *a.strides[1:]))


def mapped(a, mode):
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  it lives as long as the memory
    a.tofile(file.name)
    return np.memmap(file.name, a.dtype, mode, shape=a.shape)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


class Named(np.ndarray):
    """A subclass that adds nothing."""


# how an array comes -> (it, of a usual one; the verbs that refuse it)
NUMPY = {
    "memory with gaps": (strided, []),
    "by columns": (np.asfortranarray, []),
    "unaligned": (unaligned, []),
    "of the other byte order": (lambda a: a.astype(a.dtype.newbyteorder()), []),
    "read-only": (read_only, ["mix out"]),
    "mapped": (lambda a: mapped(a, "r+"), []),
    "mapped read-only": (lambda a: mapped(a, "r"), ["mix out"]),
    "zero strides": (lambda a: np.broadcast_to(a[:1], a.shape), ["mix out"]),
    "overlapping": (overlapping, ["mix out"]),
    "a subclass": (lambda a: a.view(Named), []),
    "masked": (lambda a: np.ma.array(a, mask=a == a.flat[0]), VERBS),
    "a matrix": (lambda a: np.matrix(a.reshape(a.shape[0], -1)), VERBS),
    "objects": (lambda a: a.astype(object), [*BLENDED, *LABELS, "normalize"]),
    "complex": (lambda a: a.astype(np.complex64), [*BLENDED, *LABELS, "normalize"]),
    "records": (
        lambda a: np.rec.fromarrays([a, a], names="a,b"), [*BLENDED, *LABELS, "normalize"]
    ),
    "strings": (lambda a: a.astype(str), [*BLENDED, *LABELS, "normalize"]),
    "a list": (lambda a: a.tolist(), VERBS),
    "nothing": (lambda a: None, VERBS),
    "a number": (lambda a: a.flat[0], VERBS),
}  # fmt: skip


class Marked(torch.Tensor):
    """A subclass that adds nothing."""


def distributed(t):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    if not dist.is_initialized():
        from torch.testing._internal.distributed.fake_pg import FakeStore

        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    return distribute_tensor(t, init_device_mesh("cpu", (1,)), [Shard(0)])


def named(t):
    from torchvision import tv_tensors

    return tv_tensors.Image(t)


def in_inference(t):
    with torch.inference_mode():
        return t.clone()


def of_floats(make):
    """Where ids cannot be so, they come as they are."""
    return lambda t: make(t) if t.is_floating_point() else None


def on_images(make):
    return lambda t: make(t) if t.dim() == 4 else None


FAKE = FakeTensorMode()
UNREAD = [*METRICS, "boxes"]  # there are no values to read
TENSORS = {
    "a tensor": (lambda t: t, []),
    "memory with gaps": (lambda t: torch.stack([t, t], -1)[..., 0], []),
    "channels last": (on_images(lambda t: t.to(memory_format=torch.channels_last)), []),
    "a parameter": (of_floats(torch.nn.Parameter), ["mix out"]),
    "with gradients": (of_floats(lambda t: t.requires_grad_() * 1), []),
    "a view of a leaf": (of_floats(lambda t: t.requires_grad_()[:]), ["mix out"]),
    "a subclass": (lambda t: t.as_subclass(Marked), []),
    "of torchvision": (on_images(named), []),
    "two tensors": (lambda t: TwoTensor(t, t.clone()), UNREAD),
    "distributed": (distributed, [v for v in VERBS if "loss" not in v]),
    "made in inference mode": (in_inference, ["mix out"]),
    "conjugate": (of_floats(lambda t: torch.complex(t, t).conj()), [*BLENDED, *LABELS]),
    "negative": (lambda t: torch._neg_view(-t) if t.is_signed() else t, []),
    "zero": (lambda t: torch._efficientzerotensor(t.shape, dtype=t.dtype), ["mix out", *METRICS]),
    "functional": (torch._to_functional_tensor, METRICS),
    "expanded": (lambda t: t[:1].expand(t.shape), ["mix out"]),
    "sparse": (lambda t: t.to_sparse(), VERBS),
    "sparse rows": (lambda t: t.to_sparse_csr() if t.dim() == 2 else t.to_sparse(), VERBS),
    "nested": (lambda t: torch.nested.nested_tensor(list(t)) if t.dim() > 1 else None, VERBS),
    "jagged": (
        lambda t: torch.nested.nested_tensor(list(t), layout=torch.jagged) if t.dim() > 1 else None,
        VERBS,
    ),
    "quantised": (of_floats(lambda t: torch.quantize_per_tensor(t, 1, 0, torch.quint8)), VERBS),
    "of mkldnn": (of_floats(lambda t: t.to_mkldnn()), VERBS),
    "unsigned": (lambda t: t if t.is_floating_point() else t.to(torch.uint16), ["normalize"]),
    "meta": (lambda t: t.to("meta"), UNREAD),
    "fake": (FAKE.from_tensor, [v for v in VERBS if "loss" not in v]),
}


def recorded(t):
    """Other values, of the same kind and in range, that a tracer sees."""
    return torch.zeros_like(t)


def with_fakes(verb, *given):
    with FAKE:
        return verb(*map(FAKE.from_tensor, given))


def of_dual(verb, *given):
    with forward_ad.dual_level():
        return verb(*(forward_ad.make_dual(t, t) if t.is_floating_point() else t for t in given))


def under(context):
    def run(verb, *given):
        with context():
            return verb(*given)

    return run


# way to call a verb -> (what calls it, the verbs that refuse it)
WAYS = {
    "vmap": (lambda verb, *given: torch.vmap(verb)(*(torch.stack([t, t]) for t in given))[0], HOST),
    "functionalize": (lambda verb, *given: torch.func.functionalize(verb)(*given), HOST),
    "dual numbers": (of_dual, []),
    "jit.trace": (
        lambda verb, *given: torch.jit.trace(verb, tuple(map(recorded, given)), check_trace=False)(
            *given
        ),
        HOST,
    ),
    "make_fx": (
        lambda verb, *given: make_fx(lambda *x: verb(*x))(*map(recorded, given))(*given), HOST
    ),
    "a mode": (under(lambda: FlopCounterMode(display=False)), HOST),
    "inference mode": (under(torch.inference_mode), []),
    "no gradients": (under(torch.no_grad), []),
    "a default device": (under(lambda: torch.device("meta")), []),
    "autocast": (under(lambda: torch.autocast("cpu")), []),
    "fake mode": (with_fakes, HOST),
}  # fmt: skip


def read(x):
    """The values of any tensor; of one without values its shape."""
    if not isinstance(x, torch.Tensor):
        return np.asarray(x)
    if x.is_meta or isinstance(x, FakeTensor):
        return tuple(x.shape)
    if torch._is_functional_tensor(x):
        torch._sync(x)
        x = torch._from_functional_tensor(x)
    x = x.a if isinstance(x, TwoTensor) else x
    x = x.full_tensor() if hasattr(x, "full_tensor") else x
    return x.detach().clone().resolve_conj().resolve_neg().as_subclass(torch.Tensor).numpy().copy()


def assert_right_or_refused(call, verb, given, want, refused):
    """The cell of a table: the values of `want`, or the refusal that was expected."""
    if refused:
        with pytest.raises(bm.MixError):
            call(verb, *given)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = read(call(verb, *given))
    if isinstance(got, tuple):
        assert got == np.shape(want)
    elif np.asarray(want).dtype.kind not in "biufc":
        assert (got == want).all()
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("way", NUMPY)
@pytest.mark.parametrize("route", ["native", "formula"])
def test_arrays(way, route):
    make, refused = NUMPY[way]
    with taken(route):
        for name, (verb, *bases) in VERBS.items():
            given = [make(a.copy()) for a in bases]
            want = None if name in refused else verb(*(np.array(a, order="C") for a in given))
            assert_right_or_refused(lambda f, *a: f(*a), verb, given, want, name in refused)


def usual(read, base):
    """The values that a tensor was read as, in an array that owns them."""
    return base.copy() if isinstance(read, tuple) else read.copy()


@pytest.fixture
def _alone():
    """No group of processes remains, which others would ask for their rank."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("way", TENSORS)
def test_tensors(way):
    make, refused = TENSORS[way]
    for name, (verb, *bases) in VERBS.items():
        given = [make(torch.tensor(a)) for a in bases]
        if any(t is None for t in given):
            continue
        want = None
        if name not in refused:
            want = verb(*(usual(read(t), a) for t, a in zip(given, bases)))
        assert_right_or_refused(lambda f, *a: f(*a), verb, given, want, name in refused)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_call(way):
    run, refused = WAYS[way]
    for name, (verb, *bases) in VERBS.items():
        given = [torch.tensor(a) for a in bases]
        want = None if name in refused else verb(*(a.copy() for a in bases))
        assert_right_or_refused(run, verb, given, want, name in refused)


def test_the_tangent_of_dual_numbers_is_mixed_too():
    x = torch.tensor(PIXELS)
    with forward_ad.dual_level():
        mixed = bm.mix(forward_ad.make_dual(x, 2 * x), PLAN, "NCHW")
        torch.testing.assert_close(
            forward_ad.unpack_dual(mixed).tangent, 2 * bm.mix(x, PLAN, "NCHW")
        )


@pytest.mark.parametrize("count", range(9))
def test_plans_of_every_number_of_axes(count):
    """With masks, also where there are no axes, and sources; in place, from others, of no rows."""
    axes, size = "ABDEFGHW"[:count], (2, 3, 1, 2, 1, 2, 1, 2)[:count]
    layout = "N" + axes[:2] + "C" + axes[2:]
    rng = np.random.default_rng(count)
    for batch, masked, stretched in itertools.product((0, 1, 3), (False, True), (False, True)):
        box = np.sort([[rng.integers(0, n + 1, 2) for n in size] for _ in range(batch)])
        full = [[[0, n] for n in size]] * batch
        plan = bm.Plan(
            rng.integers(0, max(batch, 1), batch), box.reshape(batch, count, 2).astype(int),
            rng.choice([0, 0.5, 1], batch), axes, size,
            mask=rng.random((batch, *size)) if masked else None,
            source=np.reshape(full, (batch, count, 2)).astype(int) if stretched else None,
        )  # fmt: skip
        x = rng.standard_normal((batch, *size[:2], 2, *size[2:])).astype(np.float32)
        other, got = x[::-1].copy(), []
        for route in ROUTES:
            with taken(route):
                got.append([bm.mix(x, plan, layout), bm.mix(x, plan, layout, other=other),
                            mix_ids(x, plan, layout)])  # fmt: skip
                written = x.copy()
                got[-1].append(bm.mix(written, plan, layout, out=written))
        for one, two in itertools.product(got[:1], got[1:]):
            for a, b in zip(one, two, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(got[0][0], got[0][-1])


WRONG = {
    "layout": (lambda: bm.mix(PIXELS, PLAN, None), "layout None"),
    "plan": (lambda: bm.mix(PIXELS, None, "NCHW"), "NoneType"),
    "out": (lambda: bm.mix(PIXELS, PLAN, "NCHW", out=PIXELS.tolist()), "builtins.list"),
    "other": (lambda: bm.mix(PIXELS, PLAN, "NCHW", other=[1]), "builtins.list"),
    "classes as float": (lambda: bm.mix_labels(IDS, PLAN, 10.0), "classes=10.0"),
    "classes as text": (lambda: bm.mix_labels(IDS, PLAN, "10"), "classes='10'"),
    "no classes": (lambda: bm.mix_labels(IDS[:0], bm.Plan.identity(0), 0), "classes=0"),
    "smoothing": (lambda: bm.mix_labels(IDS, PLAN, C, smoothing="0.1"), "smoothing='0.1'"),
    "threshold": (lambda: losses.soft_binary_cross_entropy(SOFT, SOFT, threshold="1"), "'1'"),
    "pairs": (lambda: losses.pairwise(np.subtract, SOFT, None), "NoneType"),
    "a loss that is none": (lambda: losses.pairwise(lambda *_: None, SOFT, PAIRS), "NoneType"),
    "a target elsewhere": (lambda: losses.soft_cross_entropy(SOFT, torch.tensor(SOFT)), "Tensor"),
    "more axes": (lambda: losses.soft_cross_entropy(PIXELS, PIXELS), "(4, 2, 6, 7)"),
    "labels with an axis": (lambda: metrics.accuracy(SOFT, IDS[:, None]), "(4, 1)"),
    "fewer labels": (lambda: metrics.accuracy(SOFT, IDS[:2]), "(2,)"),
    "labels of floats": (lambda: metrics.nll(SOFT, IDS / 1), "float64"),
    "an id below": (lambda: metrics.brier(SOFT, IDS - 1), "label -1 for 5 classes"),
    "an id to ignore": (lambda: metrics.ece(SOFT, IDS - 100), "label -100"),
    "an id above": (lambda: metrics.fit_temperature(SOFT, IDS + 1), "label 5"),
    "an id in a pair": (lambda: metrics.mixed_accuracy(SOFT, (IDS, IDS + 5, PAIRS[2])), "label 5"),
    "no pair": (lambda: metrics.clean_accuracy(SOFT, IDS), "ndarray"),
    "lam of fewer": (lambda: metrics.clean_accuracy(SOFT, (IDS, IDS, PAIRS[2][:1])), "(1,)"),
    "no bins": (lambda: metrics.ece(SOFT, IDS, 0), "bins=0"),
    "logits of one axis": (lambda: metrics.accuracy(SOFT[0], IDS), "(5,)"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    call, text = WRONG[case]
    with pytest.raises(bm.MixError) as caught:
        call()
    assert text in str(caught.value).split("\n")[0]


def test_no_rows_have_no_metric():
    for metric in (metrics.accuracy, metrics.nll, metrics.brier, metrics.ece):
        assert np.isnan(metric(SOFT[:0], IDS[:0]))


def rewritten(column, value):
    """A plan whose arrays were written to after they were checked."""
    plan = bm.Plan(*(getattr(PLAN, n).copy() for n in ("partner", "box", "opacity")), "HW", (6, 7))
    getattr(plan, column)[:] = value
    return plan


@pytest.mark.parametrize(("column", "value"), [("partner", 10**8), ("partner", -1), ("box", 10**8)])
@pytest.mark.parametrize("verb", ["mix", "stack", "normalize", "labels"])
def test_a_plan_that_was_written_to_is_refused(verb, column, value):
    plan = rewritten(column, value)
    call = {
        "mix": lambda: bm.mix(PIXELS, plan, "NCHW"),
        "stack": lambda: bm.mix_stack(PIXELS, plan, "NCHW"),
        "normalize": lambda: bm.mix_normalize(BYTES, plan, [9] * 3, [2] * 3),
        "labels": lambda: bm.mix_labels(IDS, plan, C),
    }[verb]
    if (verb, column) == ("labels", "box"):  # labels do not read it
        np.testing.assert_array_equal(call(), bm.mix_labels(IDS, PLAN, C))
        return
    with taken("native"), pytest.raises(bm.MixError, match="the plan does not fit any more"):
        call()


def meta(a):
    return torch.tensor(a).to("meta")


APART = {
    "pixels": lambda: bm.mix(torch.tensor(PIXELS), PLAN, "NCHW", other=meta(PIXELS)),
    "into": lambda: bm.mix(torch.tensor(PIXELS), PLAN, "NCHW", out=meta(PIXELS)),
    "from": lambda: bm.mix(meta(PIXELS), PLAN, "NCHW", out=torch.tensor(PIXELS)),
    "ids": lambda: bm.mix_labels(torch.tensor(IDS), PLAN, C, other=meta(IDS)),
    "probabilities": lambda: bm.mix_labels(torch.tensor(SOFT), PLAN, other=meta(SOFT)),
    "pairs": lambda: bm.pairs(torch.tensor(IDS), PLAN, other=meta(IDS)),
    "rows": lambda: bm.mix_stack([*torch.tensor(PIXELS)[:3], meta(PIXELS)[3]], PLAN, "NCHW"),
    "a stack": lambda: bm.mix_stack(torch.tensor(PIXELS), PLAN, "NCHW", out=meta(PIXELS)),
}


@pytest.mark.parametrize("case", APART)
def test_arrays_on_two_devices_are_refused(case):
    with pytest.raises(bm.MixError, match=r"is on (meta|cpu), `.*` on (meta|cpu)"):
        APART[case]()


def resized(size, part=slice(None)):
    x = torch.zeros(B, 2, 6, 7)
    part = x[part]
    x.untyped_storage().resize_(size)
    return part


def deleted():
    import jax.numpy as jnp

    x = jnp.zeros((B, 2, 6, 7))
    x.delete()
    return x


GONE = {
    "freed": lambda: resized(0),
    "shrunk": lambda: resized(4 * PIXELS.size - 4),
    "a part": lambda: resized(4 * PIXELS.size - 4, slice(1, None, 2)),
    "a parameter": torch.nn.UninitializedParameter,
    "a buffer": torch.nn.parameter.UninitializedBuffer,
    "deleted": deleted,
}


@pytest.mark.parametrize("case", GONE)
def test_what_has_no_memory_is_refused(case):
    x = GONE[case]()
    for call in (
        lambda: bm.mix(x, PLAN, "NCHW"),
        lambda: bm.mix(torch.zeros(B, 2, 6, 7), PLAN, "NCHW", out=x),
        lambda: bm.mix_stack([x] * B, PLAN, "NCHW"),
        lambda: bm.mix_stack(x, PLAN, "NCHW"),
        lambda: bm.pairs(x, PLAN),
        lambda: bm.mix_labels(x, PLAN),
    ):
        with pytest.raises(bm.MixError, match="without memory"):
            call()


def test_a_storage_that_covers_a_part_is_enough_for_it():
    part = resized(4 * PIXELS.size // 2, slice(0, 2))
    assert bm.mix(part, bm.Plan.identity(2), "NCHW").shape == part.shape


RECORDERS = {
    "jit.trace": lambda step, x: torch.jit.trace(step, (x,), check_trace=False),
    "make_fx": lambda step, x: make_fx(step)(x),
    "make_fx symbolic": lambda step, x: make_fx(step, tracing_mode="symbolic")(x),
    "make_fx before dispatch": lambda step, x: make_fx(step, pre_dispatch=True)(x),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", RECORDERS)
def test_a_mixer_without_a_step_is_not_recorded(way):
    mixer = bm.Mixer(bm.policies.MixUp(), {0: bm.fields.Image("NCHW")})
    x = torch.tensor(PIXELS)
    with pytest.raises(bm.MixError, match="no `step`, in a function that is traced once"):
        RECORDERS[way](lambda x: mixer((x,))[0], x)
    step = RECORDERS[way](lambda x: mixer((x,), 3)[0], x)  # sizes may be no numbers there
    torch.testing.assert_close(step(x), mixer((x,), 3)[0])
    with FlopCounterMode(display=False):  # it only looks on
        torch.testing.assert_close(mixer((x,))[0], mixer((x,), 0)[0])
