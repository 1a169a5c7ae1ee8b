"""scikit-learn: an estimator that is fitted to mixed rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import has_fit_parameter, validate_data

import batchmix as bm
from batchmix.adapters._sklearn_rows import (
    asked,
    check,
    given_by_estimator,
    mixed_rows,
    numbers,
    take_over,
)
from batchmix.extend import mix_error
from batchmix.fields import Targets

__all__ = ["MixedClassifier", "MixedRegressor"]


class MixedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Fit a classifier to mixed rows: each once with its own label, once with its partner's.

    .. math:: \sum_i \lambda_i\, \ell(f(x'_i), y_i) + (1 - \lambda_i)\, \ell(f(x'_i), y_{p(i)})

    The weights are the `sample_weight` of the estimator's `fit`. For a loss that is linear in the
    label this is the loss of the soft label: log-loss, and squared loss up to a constant. For hinge
    loss it is the mean loss over a label drawn by lam; a tree counts classes by weight.

    All rows are one batch, of key ``Key(seed, copy)``. The weights of all rows sum to their number,
    so that a penalty (C, alpha) means what it does without mixing. A policy acts on the columns:
    `MixUp` blends rows, `Columns` exchanges some. Prediction is that of the fitted estimator.

    Args:
      estimator: a classifier whose `fit` takes `sample_weight`. It is cloned.
      policy: how much is pasted and where; None mixes nothing.
      pairing: who is whose partner; left out, `Derangement()`. "label" is the class, 0..C-1.
      copies: how often each row is mixed, every time with another plan, >= 1.
      keep: whether the rows as they are go in as well, with the weight of one copy.
      random_state: of the plans: an integer is the seed itself; as elsewhere in scikit-learn a
        RandomState draws one, and None takes NumPy's global generator.

    Raises:
      MixError: at `fit`, an estimator that is no such classifier, or another of these arguments.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> from sklearn.linear_model import LogisticRegression
      >>> x, y = load_iris(return_X_y=True)
      >>> model = MixedClassifier(LogisticRegression(max_iter=1000), bm.policies.MixUp(0.2),
      ...                         random_state=0)
      >>> model.fit(x, y).predict_proba(x).shape, bool(model.score(x, y) > 0.9)
      ((150, 3), True)

    Source: Zhang et al., mixup, 2018, eq. 1, https://arxiv.org/abs/1710.09412
    """

    def __init__(
        self,
        estimator: Any,
        policy: Any,
        *,
        pairing: Any = None,
        copies: int = 1,
        keep: bool = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.policy = policy
        self.pairing = pairing
        self.copies = copies
        self.keep = keep
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> MixedClassifier:
        """Fit a clone of the estimator to mixed rows.

        Args:
          X: numbers [N, C]; NaN where the estimator takes it. A blend with NaN is NaN.
          y: classes [N], numbers or strings.
        """
        check(self, is_classifier, "classes", "MixedRegressor")
        if not has_fit_parameter(self.estimator, "sample_weight"):
            raise mix_error(
                "MixedClassifier", f"`fit` of {self.estimator} takes no `sample_weight`.",
                "A row with two labels is given twice, with the weight of each.",
                "Wrap for example LogisticRegression(); of a Pipeline wrap its last step.",
            )  # fmt: skip
        x, y = validate_data(self, X, y, **numbers(self))
        check_classification_targets(y)
        self.classes_, ids = np.unique(y, return_inverse=True)
        xs, ys, weights = [], [], []
        for mixed, plan in mixed_rows(self, x, {"label": ids}):
            labels, shares = bm.parts(ids, plan)
            kept = shares > 0
            kept[:, 0] = True  # so that no class is lost
            xs.append(mixed[kept.nonzero()[0]])
            ys.append(self.classes_[labels[kept]])
            weights.append(shares[kept].astype(float))
        weight = np.concatenate(weights) / len(weights)
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(np.concatenate(xs), np.concatenate(ys), sample_weight=weight)
        return self

    def predict(self, X: Any) -> Any:
        """Classes [N], of rows as they are."""
        return asked(self, "predict", X)

    @given_by_estimator("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Probabilities [N, classes]."""
        return asked(self, "predict_proba", X)

    @given_by_estimator("predict_log_proba")
    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms."""
        return asked(self, "predict_log_proba", X)

    @given_by_estimator("decision_function")
    def decision_function(self, X: Any) -> Any:
        """Scores of the estimator."""
        return asked(self, "decision_function", X)

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        take_over(tags, inner)
        if inner.classifier_tags is not None:
            tags.classifier_tags = inner.classifier_tags
            tags.classifier_tags.multi_label = False
        return tags


class MixedRegressor(RegressorMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    r"""Fit a regressor to mixed rows and mixed targets.

    .. math:: \sum_i \ell(f(x'_i), y'_i), \quad y'_i = \lambda_i y_i + (1 - \lambda_i) y_{p(i)}

    Rows and targets are blended by the weights of one plan, as `Targets` are. For squared loss this
    is the loss of `MixedClassifier` up to a constant; for others, such as absolute loss, it is not.

    All rows are one batch, of key ``Key(seed, copy)``. Where there are more rows than in the table
    and `fit` takes `sample_weight`, weights sum to the number of rows of the table, so that a
    penalty means what it does without mixing.

    Args:
      estimator: a regressor. It is cloned.
      policy: how much is pasted and where; None mixes nothing.
      pairing: who is whose partner; left out, `Derangement()`. "target" is `y`, in its own units.
      copies: how often each row is mixed, every time with another plan, >= 1.
      keep: whether the rows as they are go in as well, with the weight of one copy.
      random_state: of the plans: an integer is the seed itself; as elsewhere in scikit-learn a
        RandomState draws one, and None takes NumPy's global generator.

    Raises:
      MixError: at `fit`, an estimator that is no regressor, or another of these arguments.

    Example:
      >>> from sklearn.datasets import load_diabetes
      >>> from sklearn.linear_model import Ridge
      >>> from batchmix.pairing import Near
      >>> x, y = load_diabetes(return_X_y=True)
      >>> model = MixedRegressor(Ridge(0.1), bm.policies.MixUp(2.0), pairing=Near(y.std() / 5),
      ...                        copies=4, random_state=0)
      >>> bool(model.fit(x, y).score(x, y) > 0.4)
      True

    Source: Yao et al., C-Mixup, 2022, https://arxiv.org/abs/2210.05775
    """

    def __init__(
        self,
        estimator: Any,
        policy: Any,
        *,
        pairing: Any = None,
        copies: int = 1,
        keep: bool = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.policy = policy
        self.pairing = pairing
        self.copies = copies
        self.keep = keep
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> MixedRegressor:
        """Fit a clone of the estimator to mixed rows.

        Args:
          X: numbers [N, C]; NaN where the estimator takes it. A blend with NaN is NaN.
          y: numbers [N], or [N, D] where the estimator takes several.
        """
        check(self, is_regressor, "numbers", "MixedClassifier")
        x, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **numbers(self))
        y = y if y.dtype.kind == "f" else y.astype(float)
        found = [(mixed, Targets()(y, plan)) for mixed, plan in mixed_rows(self, x, {"target": y})]
        xs, ys = (np.concatenate(some) for some in zip(*found))
        weight: dict[str, Any] = {}
        if len(found) > 1 and has_fit_parameter(self.estimator, "sample_weight"):
            weight = {"sample_weight": np.full(len(xs), 1 / len(found))}
        self.estimator_ = clone(self.estimator).fit(xs, ys, **weight)
        return self

    def predict(self, X: Any) -> Any:
        """Numbers [N] or [N, D], for rows as they are."""
        return asked(self, "predict", X)

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        take_over(tags, inner)
        tags.target_tags = inner.target_tags
        if inner.regressor_tags is not None:
            tags.regressor_tags = inner.regressor_tags
        return tags
