"""From a fitted estimator to an ONNX graph, step by step as its library computes it.

`graph` has the graph, `table` the tables that flow through it, `registry` maps the class of a
fitted object to the code that emits it. Everything is computed in double precision and in the
library's own order, with single precision where the library itself rounds. What no module here
knows has no compiled form.
"""

from serve_app.packaging.engines import (  # registers what each emits
    bayes,
    boosters_catboost,
    boosters_lightgbm,
    boosters_xgboost,
    calibration,
    columns,
    compose,
    encoding,
    ensembles,
    imputing,
    linear,
    networks,
    quadratic,
    scaling,
    scikit_trees,
    several,
    svm,
    text,
)
from serve_app.packaging.engines.registry import emit

__all__ = [
    "bayes",
    "boosters_catboost",
    "boosters_lightgbm",
    "boosters_xgboost",
    "calibration",
    "columns",
    "compose",
    "emit",
    "encoding",
    "ensembles",
    "imputing",
    "linear",
    "networks",
    "quadratic",
    "scaling",
    "scikit_trees",
    "several",
    "svm",
    "text",
]
