"""What ``serve-app train`` can train; no import beyond the standard library until it does."""

from typing import Any

ESTIMATORS = ("logistic_regression", "random_forest")
SEED = 0
MINIMUM_ACCURACY = 0.9
"""Accuracy on the held-out rows below which no model is written; 0.33 is chance."""


def make_estimator(name: str) -> Any:
    """One of `ESTIMATORS`, not yet fitted."""
    if name == "random_forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=100, random_state=SEED)
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=SEED))
