"""What one would write by hand for one task: read, fit one LightGBM, SHAP of 2,000 rows, four charts, log to MLflow.

No grouping, no baseline, no interval, no verdict, no leakage check, no check of the input. It is the yardstick of
`benchmarks/main_job.py`.

    python benchmarks/minimal_script.py <admissions.csv>
"""

import sys
from pathlib import Path

import lightgbm as lgb
import matplotlib as mpl
import mlflow
import mlflow.lightgbm
import numpy as np
import pandas as pd
import shap
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split

mpl.use("Agg")
from matplotlib import pyplot as plt

FEATURES = [
    "Age", "Gender", "Blood Type", "Medical Condition", "Insurance Provider", "Admission Type", "Hospital",
]  # fmt: skip


def main(source: str) -> None:
    """Do it."""
    table = pd.read_csv(source, parse_dates=["Date of Admission", "Discharge Date"])
    target = (table["Discharge Date"] - table["Date of Admission"]).dt.days
    X = table[FEATURES].copy()
    for name in FEATURES[1:]:
        X[name] = pd.factorize(X[name])[0]
    X["month"] = table["Date of Admission"].dt.month
    X_train, X_test, y_train, y_test = train_test_split(X, target, test_size=0.2, random_state=0)
    model = lgb.LGBMRegressor(n_estimators=300, learning_rate=0.05, n_jobs=1, verbosity=-1)
    model.fit(X_train, y_train)
    predicted = model.predict(X_test)
    sample = X_test.iloc[:2000]
    values = shap.TreeExplainer(model)(sample)
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'minimal.db'}")
    mlflow.set_experiment("minimal")
    with mlflow.start_run():
        mlflow.log_params(model.get_params())
        mlflow.log_metrics({"mae": mean_absolute_error(y_test, predicted), "r2": r2_score(y_test, predicted)})
        for name, draw in {
            "beeswarm": lambda: shap.plots.beeswarm(values, show=False),
            "bar": lambda: shap.plots.bar(values, show=False),
            "observed": lambda: plt.scatter(predicted, y_test, s=2),
            "residuals": lambda: plt.hist(y_test - predicted, bins=40),
        }.items():
            plt.figure()
            draw()
            plt.title(f"{name}, n = {len(predicted)}")
            plt.savefig(f"{name}.png", dpi=150)
            plt.close("all")
            mlflow.log_artifact(f"{name}.png")
        mlflow.lightgbm.log_model(model, name="model", input_example=X_test.iloc[:3].astype(np.float64))


if __name__ == "__main__":
    main(sys.argv[1])
