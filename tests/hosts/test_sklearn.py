"""scikit-learn: what the wrapped estimator is fitted to, against the plans and by hand."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

import batchmix as bm
from batchmix.adapters.sklearn import MixedClassifier, MixedRegressor
from batchmix.pairing import Derangement, Near, OtherClass, SameClass
from batchmix.policies import Columns, CutMix, Layers, MixUp, SaliencyMix, Schedule, Switch

ROOT = Path(__file__).parents[2]
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
DX, DY = load_diabetes(return_X_y=True)
DEFAULT = Derangement()
POLICIES = [
    MixUp(1.0), Columns(0.3), CutMix(1.0), Switch([MixUp(0.2), Columns(0.5)]),
    Layers([MixUp(1.0), Columns(0.3)]),
]  # fmt: skip


class Noted(BaseEstimator):
    """Keeps what it was fitted to; predicts the first label."""

    def __init__(self, nan=False):
        self.nan = nan

    def fit(self, X, y, sample_weight=None):
        self.x_, self.y_, self.weight_ = X, y, sample_weight
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.repeat(self.y_[:1], len(X), axis=0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.nan
        return tags


class NotedClassifier(ClassifierMixin, Noted):
    pass


class NotedRegressor(RegressorMixin, Noted):
    pass


class WithoutWeights(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        self.x_, self.n_features_in_ = X, X.shape[1]
        return self

    def predict(self, X):
        return np.zeros(len(X))


def drawn(policy, x, seed=0, copy=0, pairing=DEFAULT, **hints):
    """The rows of a copy and the plan that they have."""
    plan = bm.draw(
        policy, bm.Key(seed, copy), len(x), {"C": x.shape[1]}, pairing=pairing, hints=hints
    )
    return bm.mix(x, plan, "NC"), plan


@pytest.mark.parametrize(
    "model",
    [
        MixedClassifier(LogisticRegression(), MixUp(0.2)),
        MixedClassifier(LogisticRegression(), Columns(0.3), copies=2, keep=True),
        MixedClassifier(RidgeClassifier(), MixUp(0.2), pairing=OtherClass()),
        MixedClassifier(SVC(), MixUp(0.2)),
        MixedClassifier(DecisionTreeClassifier(random_state=0), MixUp(0.2)),
        MixedClassifier(HistGradientBoostingClassifier(max_iter=5), MixUp(0.2)),
        MixedRegressor(Ridge(), MixUp(0.2)),
        MixedRegressor(Ridge(), Columns(0.3), copies=2, keep=True),
        MixedRegressor(Ridge(), MixUp(2.0), pairing=Near(1.0)),
        MixedRegressor(KNeighborsRegressor(), MixUp(0.2)),
    ],
    ids=str,
)
def test_the_checks_of_scikit_learn(model):
    found = check_estimator(model, on_fail="raise", on_skip=None)
    skipped = {one["check_name"] for one in found if one["status"] != "passed"}
    assert len(found) > 50
    assert skipped <= {"check_array_api_input"}


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize(("copies", "keep"), [(1, False), (3, False), (2, True)])
def test_logistic_regression_is_at_the_minimum_of_the_soft_label_loss(policy, copies, keep):
    """The gradient vanishes there; soft labels are those of `mix_labels`, not of `parts`."""
    inner = LogisticRegression(tol=1e-10, max_iter=5000, C=0.7)
    model = MixedClassifier(inner, policy, copies=copies, keep=keep, random_state=5).fit(X, NAMES)
    parts = [drawn(policy, X, 5, copy) for copy in range(copies)]
    rows = [(x, bm.mix_labels(Y, plan, 3)) for x, plan in parts]
    rows += [(X, np.eye(3)[Y])] * keep
    gradient = model.estimator_.coef_ / 0.7
    for x, soft in rows:
        gradient = gradient + (model.predict_proba(x) - soft).T @ x / len(rows)
    assert np.abs(gradient).max() < 1e-3
    plain = LogisticRegression(tol=1e-10, max_iter=5000, C=0.7).fit(X, NAMES)
    assert np.abs(plain.coef_ - model.estimator_.coef_).max() > 0.01


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_ridge_solves_the_mixed_equations(policy):
    model = MixedRegressor(Ridge(0.5), policy, copies=2, random_state=1).fit(DX, DY)
    xs, ys = [], []
    for copy in range(2):
        x, plan = drawn(policy, DX, 1, copy)
        labels, weights = bm.parts(DY, plan)
        xs.append(x)
        ys.append((labels * weights).sum(1))
    x, y = np.concatenate(xs), np.concatenate(ys)
    x, y = x - x.mean(0), y - y.mean()
    expected = np.linalg.solve(x.T @ x / 2 + 0.5 * np.eye(10), x.T @ y / 2)
    assert np.allclose(model.estimator_.coef_, expected, rtol=1e-5)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_two_parts_are_the_blend_for_squared_loss(policy):
    """The same coefficients whichever way the targets -1, 1 are given."""
    y = Y == 1
    parts = MixedClassifier(RidgeClassifier(0.3), policy, random_state=2).fit(X, y)
    blend = MixedRegressor(Ridge(0.3), policy, random_state=2).fit(X, 2.0 * y - 1)
    assert np.allclose(parts.estimator_.coef_.ravel(), blend.estimator_.coef_, rtol=1e-4)


def test_without_a_policy_it_is_the_plain_estimator():
    plain = LogisticRegression().fit(X, NAMES)
    mixed = MixedClassifier(LogisticRegression(), None).fit(X, NAMES)
    assert np.array_equal(plain.coef_, mixed.estimator_.coef_)
    trees = (RandomForestRegressor(5, random_state=0) for _ in range(2))
    plain, mixed = next(trees).fit(DX, DY), MixedRegressor(next(trees), None).fit(DX, DY)
    assert np.array_equal(plain.predict(DX), mixed.predict(DX))


@given(
    st.integers(1, 12), st.integers(1, 5), st.sampled_from(POLICIES), st.integers(1, 3),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_what_the_estimator_gets(rows, columns, policy, copies, keep, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, columns)), rng.integers(0, 3, rows) * 10
    model = MixedClassifier(NotedClassifier(), policy, copies=copies, keep=keep, random_state=seed)
    got = model.fit(x, y).estimator_
    assert np.isclose(got.weight_.sum(), rows)
    assert set(got.y_) == set(y)
    parts = [drawn(policy, x, seed, copy) for copy in range(copies)]
    parts += [(x, bm.Plan.identity(rows))] * keep
    at = 0
    for mixed, plan in parts:
        soft = bm.mix_labels(y // 10, plan, 3)
        for i in range(rows):
            found, own = np.zeros(3), at
            while at < len(got.x_) and (at == own or found.sum() < 1 - 1e-6):
                assert np.array_equal(got.x_[at], mixed[i])
                found[got.y_[at] // 10] += got.weight_[at] * len(parts)
                at += 1
            assert np.allclose(found, soft[i], atol=1e-6)
    assert at == len(got.x_)


def test_who_is_whose_partner():
    for pairing in (SameClass(), OtherClass()):
        model = MixedClassifier(NotedClassifier(), MixUp(1.0), pairing=pairing, random_state=3)
        got = model.fit(X, NAMES).estimator_
        mixed, plan = drawn(MixUp(1.0), X, 3, pairing=pairing, label=Y)
        assert (NAMES[plan.partner] == NAMES).all() == (pairing == SameClass())
        assert np.array_equal(np.unique(got.x_, axis=0), np.unique(mixed, axis=0))
    near = MixedRegressor(NotedRegressor(), MixUp(2.0), pairing=Near(5.0), random_state=3)
    mixed, plan = drawn(MixUp(2.0), DX, 3, pairing=Near(5.0), target=DY)
    got = near.fit(DX, DY).estimator_
    assert np.array_equal(got.x_, mixed)
    assert np.abs(DY[plan.partner] - DY).mean() < 10
    assert got.weight_ is None


def test_a_seed_replays_and_no_seed_does_not():
    def rows(state, copies=1):
        model = MixedRegressor(NotedRegressor(), MixUp(1.0), copies=copies, random_state=state)
        return model.fit(DX, DY).estimator_.x_

    assert np.array_equal(rows(4), rows(4))
    assert np.array_equal(rows(np.random.RandomState(4)), rows(np.random.RandomState(4)))
    shared = np.random.RandomState(4)
    assert not np.array_equal(rows(shared), rows(shared))
    assert not np.array_equal(rows(None), rows(None))
    first, second = np.split(rows(4, copies=2), 2)
    assert np.array_equal(first, rows(4))
    assert not np.array_equal(first, second)


def test_no_class_is_lost_where_all_of_it_is_pasted_over():
    y = np.array(["a", "b", "b", "b"])
    model = MixedClassifier(LogisticRegression(), Columns(1.0), pairing=Within1(), random_state=0)
    fitted = model.fit(np.arange(8.0).reshape(4, 2), y)
    assert fitted.classes_.tolist() == fitted.estimator_.classes_.tolist() == ["a", "b"]


class Within1:
    """Row 1 is everyone's partner."""

    def pair(self, rng, batch, hints):
        return np.ones(batch, int)


def test_in_pipelines_searches_clones_and_pickles():
    model = MixedClassifier(LogisticRegression(), MixUp(0.2), random_state=0)
    pipe = make_pipeline(StandardScaler(), model)
    grid = {
        "mixedclassifier__policy": [None, MixUp(0.2), Columns(0.3)],
        "mixedclassifier__estimator__C": [0.1, 10.0],
    }
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, NAMES)
    assert search.best_score_ > 0.9
    assert search.best_params_["mixedclassifier__policy"] in grid["mixedclassifier__policy"]
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(again.predict_proba(X), search.predict_proba(X))
    assert clone(model).policy == MixUp(0.2)
    scores = cross_val_score(MixedRegressor(Ridge(0.1), MixUp(0.2), random_state=0), DX, DY)
    assert scores.mean() > 0.4


def test_what_it_can_do_is_what_the_estimator_can():
    svc = MixedClassifier(SVC(), MixUp(0.2), random_state=0).fit(X, Y)
    assert hasattr(svc, "decision_function")
    assert not hasattr(svc, "predict_proba")
    assert svc.decision_function(X).shape == (150, 3)
    forest = MixedClassifier(HistGradientBoostingClassifier(max_iter=3), MixUp(), random_state=0)
    assert forest.fit(X, Y).predict_proba(X).shape == (150, 3)
    assert not hasattr(forest.estimator_, "predict_log_proba")
    assert not hasattr(forest, "predict_log_proba")


def test_names_of_columns_are_kept_and_asked_for():
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MixedClassifier(LogisticRegression(), MixUp(), random_state=0).fit(frame, NAMES)
    assert model.feature_names_in_.tolist() == list("abcd")
    array = MixedClassifier(LogisticRegression(), MixUp(), random_state=0).fit(X, NAMES)
    assert np.array_equal(model.predict_proba(frame), array.predict_proba(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("bacd")])
    with pytest.raises(ValueError, match="string"):
        model.fit(frame.assign(a="red"), NAMES)


def test_missing_numbers():
    x = X.copy()
    x[::7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        MixedClassifier(LogisticRegression(), MixUp()).fit(x, Y)
    got = MixedClassifier(NotedClassifier(nan=True), Columns(0.5), random_state=0).fit(x, Y)
    mixed, plan = drawn(Columns(0.5), x)
    assert np.isnan(mixed[:, [0, 2, 3]]).sum() == 0
    taken = plan.mask[:, 1].astype(bool)
    assert np.array_equal(
        np.isnan(mixed[:, 1]), np.isnan(np.where(taken, x[plan.partner, 1], x[:, 1]))
    )
    assert np.isnan(got.estimator_.x_).any()
    blend = MixedRegressor(NotedRegressor(nan=True), MixUp(1.0), random_state=0).fit(x, Y)
    _, plan = drawn(MixUp(1.0), x)
    either = np.isnan(x[:, 1]) | (np.isnan(x[plan.partner, 1]) & (plan.opacity > 0))
    assert np.array_equal(np.isnan(blend.estimator_.x_[:, 1]), either)
    trees = MixedClassifier(HistGradientBoostingClassifier(max_iter=5), MixUp(), random_state=0)
    assert trees.fit(x, Y).score(x, Y) > 0.9


def test_several_targets():
    y = np.stack([DY, -DY], 1)
    model = MixedRegressor(Ridge(0.1), MixUp(1.0), random_state=0).fit(DX, y)
    assert np.allclose(model.predict(DX)[:, 0], -model.predict(DX)[:, 1])
    assert MixedRegressor(Ridge(), MixUp()).fit(DX, DY.astype(int)).predict(DX).dtype == float
    with pytest.raises(ValueError, match="1d"):
        MixedClassifier(LogisticRegression(), MixUp()).fit(X, np.stack([Y, Y], 1))


def test_more_rows_without_weights():
    model = MixedRegressor(WithoutWeights(), MixUp(), copies=2, keep=True, random_state=0)
    assert np.array_equal(model.fit(DX, DY).estimator_.x_[-len(DX) :], DX)
    noted = MixedRegressor(NotedRegressor(), MixUp(), copies=3, keep=True).fit(DX, DY)
    assert noted.estimator_.weight_.sum() == pytest.approx(len(DX))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (MixedClassifier(KNeighborsClassifier(), MixUp()), "takes no `sample_weight`"),
        (MixedClassifier(make_pipeline(LogisticRegression()), MixUp()), "wrap its last step"),
        (MixedClassifier(LogisticRegression, MixUp()), "predict classes"),
        (MixedClassifier(Ridge(), MixUp()), "take MixedRegressor"),
        (MixedClassifier(None, MixUp()), "the estimator None"),
        (MixedRegressor("ridge", MixUp()), "the estimator 'ridge'"),
        (MixedRegressor(LogisticRegression(), MixUp()), "take MixedClassifier"),
        (MixedClassifier(LogisticRegression(), MixUp(), copies=0), "copies=0"),
        (MixedRegressor(Ridge(), MixUp(), copies=True), "copies=True"),
        (MixedRegressor(Ridge(), MixUp(), copies=1.5), "copies=1.5"),
        (MixedRegressor(Ridge(), MixUp(), keep="no"), "keep='no'"),
        (MixedRegressor(Ridge(), MixUp), "policy"),
        (MixedRegressor(Ridge(), MixUp(), pairing=Derangement), "pairing"),
        (MixedRegressor(Ridge(), MixUp(), pairing=OtherClass()), "'label'"),
        (MixedRegressor(Ridge(), MixUp(), random_state=-1), "key"),
        (MixedClassifier(LogisticRegression(), MixUp(), pairing=Near(1.0)), "'target'"),
        (MixedClassifier(LogisticRegression(), SaliencyMix()), "'image'"),
        (MixedRegressor(Ridge(), Schedule.off_after(MixUp(), epoch=1)), "epoch"),
    ],
)
def test_what_does_not_fit_is_refused(model, words):
    with pytest.raises(bm.MixError, match=words):
        model.fit(X, Y)


def test_a_sparse_table_is_refused():
    with pytest.raises(TypeError, match="toarray"):
        MixedClassifier(LogisticRegression(), MixUp()).fit(csr_array(X), Y)


def test_example():
    words = [sys.executable, "examples/sklearn_table.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert float(line.split()[-1]) > 0.4
