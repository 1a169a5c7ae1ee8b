"""Tables with scikit-learn: a classifier and a regressor on mixed rows, scored by cross-validation.

python examples/sklearn_table.py         needs batchmix, scikit-learn
"""

from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from batchmix.adapters.sklearn import MixedClassifier, MixedRegressor
from batchmix.pairing import Near
from batchmix.policies import Columns, MixUp


def main():
    x, y = load_breast_cancer(return_X_y=True)
    for name, policy in {"none": None, "mixup": MixUp(0.2), "columns": Columns(0.1)}.items():
        inner = LogisticRegression(max_iter=1000)
        model = MixedClassifier(inner, policy, copies=2, random_state=0)
        pipe = make_pipeline(StandardScaler(), model)  # scaled by rows as they are, then mixed
        print(f"breast cancer, accuracy, {name}: {cross_val_score(pipe, x, y).mean():.3f}")

    x, y = load_diabetes(return_X_y=True)
    near = Near(0.2 * y.std())  # partners of a similar target, as in C-Mixup
    for name, policy in {"none": None, "near": MixUp(2.0)}.items():
        model = MixedRegressor(Ridge(0.1), policy, pairing=near, copies=4, random_state=0)
        print(f"diabetes, R2, {name}: {cross_val_score(model, x, y).mean():.3f}")


if __name__ == "__main__":
    main()
