"""Save an estimator as MLflow serves it: ``python -m bench.mlflow_model FILE DIRECTORY``.

It runs in an environment of its own, which has nothing of this project. ``mlflow models serve``
then answers ``predict_proba``. Pickle is the format of the estimator's file too; MLflow's other
one, skops, wants each type of a model named.
"""

import sys

import joblib
import mlflow.sklearn  # type: ignore[import-not-found]

if __name__ == "__main__":
    mlflow.sklearn.save_model(
        joblib.load(sys.argv[1]),
        sys.argv[2],
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
        pyfunc_predict_fn="predict_proba",
        # Otherwise it looks for the requirements in a process that loads the model again.
        pip_requirements=[],
    )
