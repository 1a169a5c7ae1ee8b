"""Rows without a label, and labels of several sources: by counting what is seen of each row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, Layers, Mosaic, Sometimes
from checks import EXAMPLES, SWITCH, plans

B, C = 6, 5
TAGS = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1]])
POLICIES = [SWITCH, Sometimes(CutMix(), 0.6), Mosaic(), Layers([SWITCH, CutMix()])]


def plan_of(policy=SWITCH, seed=3):
    return bm.draw(policy, bm.Key(seed), B, {"H": 4, "W": 6})


def counted(plan, others=None):
    """[B, rows]: the share of each row's cells that shows each row of the batch."""
    size = [plan.size[plan.axes.index(axis)] for axis in plan.axes]
    marks = np.eye(len(plan)).reshape(len(plan), len(plan), *[1] * len(size))
    pixels = oracle.mix(marks * np.ones(size), plan, "NC" + plan.axes)
    return pixels.reshape(len(plan), len(plan), -1).mean(2)


def sources(plan):
    """[B, rows]: whether a row of the batch has any weight in the label of a row."""
    found, shares = np.zeros((len(plan), len(plan)), bool), oracle.shares(plan)
    for row in range(len(plan)):
        partners = [layer.partner[row] for layer in plan.layers]
        for source, share in zip([row, *partners], shares[row]):
            found[row, source] |= share > 0
    return found


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("ignore", [-100, 255, 5, 2])
def test_a_label_sums_to_the_share_of_pixels_that_is_known(xp, policy, smoothing, ignore):
    """Also where the id to ignore is the one after the last class, or a class."""
    plan, y = plan_of(policy), np.array([0, ignore, 1, ignore, 4, 0])
    known = y != ignore
    pixels = counted(plan)[:, known]
    field = Labels(C, smoothing, ignore)
    soft = xp.numpy(field(xp.ids(y), plan))
    want = pixels @ np.eye(C)[y[known]]
    want = want * (1 - smoothing) + smoothing / C * pixels.sum(1, keepdims=True)
    np.testing.assert_allclose(soft, want, atol=2e-6)
    np.testing.assert_allclose(soft.sum(1), pixels.sum(1), atol=2e-6)
    column = bm.mix_labels(xp.ids(y[:, None]), plan, C, smoothing=smoothing, ignore=ignore)
    np.testing.assert_array_equal(xp.numpy(column), soft)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_ids_to_ignore_of_narrow_types(xp, dtype):
    ignore = 255 if dtype == "uint8" else -100
    plan, y = plan_of(), np.array([0, ignore, 1, ignore, 4, 0])
    soft = bm.mix_labels(xp.array(y, dtype), plan, C, ignore=ignore)
    assert xp.dtype(soft) == "float32"
    want = bm.mix_labels(y, plan, C, ignore=ignore)
    np.testing.assert_allclose(xp.numpy(soft), want, atol=1e-6)
    # what no value of the dtype equals ignores nothing
    plain = bm.mix_labels(xp.array([0, 1, 2, 3, 4, 0], dtype), plan, C, ignore=156 - 256 * 2)
    np.testing.assert_allclose(xp.numpy(plain), bm.mix_labels(np.arange(6) % 5, plan, C), atol=1e-6)


def test_as_many_classes_as_a_narrow_type_has_values(xp):
    y = np.array([0, 255, 128, 7, 255, 9])
    soft = xp.numpy(bm.mix_labels(xp.array(y, "uint8"), plan_of(), 256, ignore=-1))
    np.testing.assert_allclose(soft, oracle.labels(y, plan_of(), 256), atol=1e-6)


@pytest.mark.parametrize("policy", [SWITCH, Mosaic()])
@pytest.mark.parametrize("bad", [-1, 5, 6])
def test_what_is_not_to_be_ignored_is_refused(xp, policy, bad):
    """5 is the first id that is no class, and the place of what is ignored."""
    y = xp.ids([0, 1, bad, 3, -100, 0])
    if not xp.looks:
        soft = xp.numpy(bm.mix_labels(y, plan_of(policy), C, ignore=-100))
        assert np.isnan(soft[2]).all()
        return
    with pytest.raises(bm.MixError, match=rf"label {bad} with classes=5"):
        bm.mix_labels(y, plan_of(policy), C, ignore=-100)
    with pytest.raises(bm.MixError, match=rf"label {bad} with classes=5"):
        bm.mix_labels(xp.ids([0] * B), plan_of(policy), C, ignore=-100, other=y)


def test_partners_without_a_label(xp):
    plan = plan_of()
    y, theirs = xp.ids([1] * B), xp.ids([-100] * B)
    soft = xp.numpy(bm.mix_labels(y, plan, C, ignore=-100, other=theirs))
    np.testing.assert_allclose(soft[:, 1], plan.lam, atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), plan.lam, atol=1e-6)
    soft = xp.numpy(bm.mix_labels(theirs, plan, C, ignore=-100, other=y))
    np.testing.assert_allclose(soft[:, 1], 1 - plan.lam, atol=1e-6)


def test_the_loss_weights_each_row_by_what_is_known():
    """As the loss on pairs with torch's own ignore_index."""
    torch = pytest.importorskip("torch")

    plan, y = plan_of(), torch.tensor([0, -100, 1, -100, 4, 0])
    logits = torch.randn(B, C)
    dense = bm.losses.soft_cross_entropy(logits, bm.mix_labels(y, plan, C, ignore=-100))
    plain = torch.nn.CrossEntropyLoss(reduction="none", ignore_index=-100)
    torch.testing.assert_close(dense, bm.losses.pairwise(plain, logits, bm.pairs(y, plan)))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", ["int32", "float32", "float16", "uint8"])
def test_a_union_has_every_tag_of_what_is_seen(xp, policy, dtype):
    plan = plan_of(policy)
    want = np.array([TAGS[some].max(0, initial=0) for some in sources(plan)])
    found = Labels(rule="union")(xp.array(TAGS, dtype), plan)
    assert xp.dtype(found) == "float32"
    np.testing.assert_array_equal(xp.numpy(found), want)
    y = np.arange(B) % C
    ids = Labels(C, rule="union")(xp.ids(y), plan)
    np.testing.assert_array_equal(xp.numpy(ids), oracle.labels(y, plan, C) > 0)


def test_the_union_of_shares_is_the_largest(xp):
    plan = bm.Plan([1, 0], [], [0.25, 0], "", ())
    found = Labels(rule="union")(xp.array([[0.2, 0.7], [0.4, 0.1]], "float32"), plan)
    np.testing.assert_allclose(xp.numpy(found), [[0.4, 0.7], [0.4, 0.1]], atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 1])
def test_a_tag_counts_from_its_threshold_on(xp, policy, threshold):
    plan = plan_of(policy)
    shares = counted(plan) @ TAGS
    found = Labels(rule="threshold", threshold=threshold)(xp.array(TAGS, "float32"), plan)
    np.testing.assert_array_equal(xp.numpy(found), shares > threshold - 1e-6)


def test_a_share_that_is_the_threshold_counts(xp):
    """As it is meant: 1 - 0.7 of float32 is below 0.3."""
    plan = bm.Plan([1, 0], [], [0.7, 0.3], "", ())
    found = Labels(2, rule="threshold", threshold=0.3)(xp.ids([0, 1]), plan)
    np.testing.assert_array_equal(xp.numpy(found), [[1, 1], [1, 1]])


def test_rules_and_rows_without_a_label(xp):
    plan = bm.Plan([1, 0], [], [0.25, 0.25], "", ())
    y = xp.ids([3, -100])
    union = Labels(C, ignore=-100, rule="union")(y, plan)
    np.testing.assert_array_equal(xp.numpy(union), np.eye(C)[[3, 3]])
    most = Labels(C, ignore=-100, rule="threshold")(y, plan)
    np.testing.assert_array_equal(xp.numpy(most), [np.eye(C)[3], np.zeros(C)])


@pytest.mark.parametrize("rule", ["blend", "union", "threshold"])
def test_a_partner_without_weight_hands_over_nothing(xp, rule):
    """NaN marks a tag that nobody knows."""
    tags = xp.array([[0, 1], [np.nan, 1], [1, 0]], "float32")
    plan = bm.Plan([1, 2, 0], [], [0, 1, 0], "", ())
    layers = plan.then(plan)
    for each in (plan, layers):
        found = xp.numpy(Labels(rule=rule)(tags, each))
        np.testing.assert_array_equal(found, [[0, 1], [1, 0], [1, 0]])


@pytest.mark.parametrize("rule", ["blend", "union", "threshold"])
def test_in_a_compiled_step(xp, rule):
    if xp.compiled is None:
        pytest.skip("no compiler of this framework in the test")
    field = Labels(C, ignore=-100, rule=rule)
    for plan in (plan_of(), plan_of(Mosaic())):
        run = xp.compiled(field)
        y = np.array([0, -100, 1, -100, 4, 0])
        np.testing.assert_allclose(xp.numpy(run(xp.ids(y), plan)), field(y, plan), atol=1e-6)


def test_a_compiled_step_that_sees_no_class_says_so(xp):
    """By NaN, whatever the rule: there nobody looks at ids."""
    if xp.name != "jax":
        pytest.skip("a graph of TensorFlow stops, the others see their ids")
    for rule in ("blend", "union", "threshold"):
        run = xp.compiled(Labels(C, ignore=-100, rule=rule))
        for plan in (plan_of(), plan_of(Mosaic())):
            soft = xp.numpy(run(xp.ids([5, -100, 1, 0, 4, 0]), plan))
            lost = np.isnan(soft).all(1)
            assert lost[sources(plan)[:, 0]].all()
            np.testing.assert_array_equal(lost, np.isnan(soft).any(1))


def test_one_graph_of_torch():
    torch = pytest.importorskip("torch")

    torch._dynamo.reset()
    y, tags = torch.tensor([0, -100, 1, -100, 4, 0]), torch.tensor(TAGS)

    def mixing(y, tags, plan):
        known = bm.mix_labels(y, plan, C, smoothing=0.1, ignore=-100)
        return known, bm.mix_labels(tags, plan, rule="union"), Labels(rule="threshold")(tags, plan)

    compiled = torch.compile(mixing, backend="aot_eager", fullgraph=True)
    for plan in (plan_of(), plan_of(seed=4), plan_of(Layers([SWITCH, CutMix()]))):
        torch.testing.assert_close(compiled(y, tags, plan), mixing(y, tags, plan))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore": 0.5}, "id of rows without a label"),
        ({"ignore": True}, "id of rows without a label"),
        ({"ignore": 2**40}, "id of rows without a label"),
        ({"rule": "max"}, "'blend', 'union' or 'threshold'"),
        ({"rule": "threshold", "threshold": 0}, "0 < t <= 1"),
        ({"rule": "threshold", "threshold": 1.5}, "0 < t <= 1"),
        ({"threshold": 0.2}, "Only rule='threshold'"),
        ({"rule": "union", "threshold": 0.2}, "Only rule='threshold'"),
        ({"rule": "union", "smoothing": 0.1}, "Leave one of the two out"),
        ({"rule": "threshold", "smoothing": 0.1}, "Leave one of the two out"),
    ],
)
def test_options_that_have_no_sense(options, message):
    with pytest.raises(bm.MixError, match=message):
        Labels(C, **options)
    with pytest.raises(bm.MixError, match=message):
        bm.mix_labels(np.arange(B) % C, plan_of(), C, **options)


def test_what_is_ignored_is_an_id(xp):
    with pytest.raises(bm.MixError, match="ids need a number of classes"):
        Labels(ignore=-100)
    with pytest.raises(bm.MixError, match="a row of zeros has no label"):
        Labels(3, ignore=-100)(xp.array(TAGS, "float32"), plan_of())


def test_in_a_batch(xp):
    images, y = xp.array(np.zeros((B, 3, 4, 6)), "float32"), xp.ids([0, -100, 1, 2, 3, -100])
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(C, ignore=-100)}, seed=1)
    plan = mixer.but().draw((images, y))
    soft = xp.numpy(mixer((images, y))[1])
    known = np.array([1, 0, 1, 1, 1, 0])
    np.testing.assert_allclose(soft.sum(1), counted(plan) @ known, atol=1e-6)


@given(plans(), st.data())
@settings(max_examples=EXAMPLES)
def test_what_is_known_and_what_is_not_are_the_whole(plan, data):
    """Shares of known rows, and of the others, whatever is pasted."""
    rows = len(plan)
    y = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=rows, max_size=rows)), np.int64)
    for each in (plan, plan.then(plan)):
        soft = bm.mix_labels(y, each, 4, ignore=-1)
        hidden = bm.mix_labels(np.where(y == -1, 4, y), each, 5)
        np.testing.assert_allclose(soft, hidden[:, :4], atol=1e-6)
        union = bm.mix_labels(y, each, 4, ignore=-1, rule="union")
        np.testing.assert_array_equal(union, soft > 0)
