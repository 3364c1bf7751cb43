"""scikit-learn's networks and linear classifiers, by skl2onnx."""
import warnings

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (MaxAbsScaler, MinMaxScaler, Normalizer,
                                   RobustScaler, StandardScaler)
from sklearn.svm import LinearSVC

from cases import case, path, save_real

warnings.simplefilter("ignore")
digits = load_digits()
X, y = digits.data[:1200].astype(np.float32), digits.target[:1200]
names = np.array([f"digit {i}" for i in range(10)])[y]
even = (y % 2).astype(int)
several = np.stack([y % 2, y > 4, y % 3 == 0], 1).astype(int)
real = save_real("digits_real", digits.data[1200:1400])


def mlp(**more):
    return MLPClassifier((16,), max_iter=30, random_state=1, **more)


def go(name, model, labels, rows=X, options=None, **how):
    model.fit(rows, labels)
    with open(path(name), "wb") as file:
        file.write(to_onnx(model, rows[:1], options=options)
                   .SerializeToString())
    case(name, real=real, **how)


plain = {"zipmap": False}
for kind in ("relu", "tanh", "logistic", "identity"):
    go(f"sk_{kind}", mlp(activation=kind), y, options=plain)
go("sk_zipmap", mlp(), y)
go("sk_names", make_pipeline(StandardScaler(), mlp()), names,
   classes=[f"digit {i}" for i in range(10)])
go("sk_labels", mlp(), y + 3, classes=[str(i + 3) for i in range(10)])
go("sk_two", mlp(), even)
go("sk_two_names", make_pipeline(StandardScaler(), mlp()),
   np.array(["even", "odd"])[even], options=plain, classes=["even", "odd"])
for scaler in (StandardScaler(), MinMaxScaler(), MaxAbsScaler(),
               RobustScaler(), MinMaxScaler(clip=False)):
    go(f"sk_{type(scaler).__name__}", make_pipeline(scaler, mlp()), y)
go("sk_no_mean", make_pipeline(StandardScaler(with_mean=False), mlp()), y)
go("sk_double", make_pipeline(StandardScaler(), mlp()), y,
   rows=X.astype(np.float64), options=plain)
go("sk_several", mlp(), several, options=plain,
   refused="--loss multiclass_hinge answers with these")
go("sk_several_scores", mlp(), several, options=plain,
   **{"answer": "same"}, **{"refused": None})
case("sk_several_scores", options=["--loss", "multiclass_hinge"], real=real)
go("sk_regressor", MLPRegressor(hidden_layer_sizes=(16,), max_iter=30,
                                random_state=1), y.astype(np.float32))
case("sk_regressor", options=["--loss", "hinge"], real=real)
go("sk_columns", mlp(), y, options={"zipmap": "columns"},
   refused="(Slice): soma has no layer")
go("sk_columns_named", mlp(), y, options={"zipmap": "columns"})
case("sk_columns_named", options=["--output", "out_activations_result"],
     refused=None, answer="columns", real=real)
go("sk_logistic_regression", LogisticRegression(max_iter=50), y)
go("sk_logistic_two", LogisticRegression(max_iter=50), even)
go("sk_svc", LinearSVC(), y, answer="same")
case("sk_svc", options=["--loss", "multiclass_hinge"], real=real)
go("sk_no_normalizer", make_pipeline(Normalizer(), mlp()), y,
   refused="scales each example by itself")
go("sk_no_clip", make_pipeline(MinMaxScaler(clip=True), mlp()), y,
   refused="(Clip): soma does not have the activation")
go("sk_no_sgd", SGDClassifier(loss="log_loss"), y,
   refused="soma has no layer for this operator")
