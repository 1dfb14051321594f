"""From a fitted estimator to an ONNX graph, step by step as its library computes it.

`graph` has the graph and the tables that flow through it, `registry` maps the class of a fitted
object to the code that emits it. Everything is computed in double precision and in the library's
own order, with single precision where the library itself rounds. What no module here knows is left
to skl2onnx (`by_skl2onnx`), one estimator at a time.
"""

from serve_app.packaging.engines import (  # registers what each emits
    boosters_catboost,
    boosters_lightgbm,
    boosters_xgboost,
    compose,
    linear,
    scikit_trees,
    svm,
    text,
    transformers,
)
from serve_app.packaging.engines.registry import emit

__all__ = [
    "boosters_catboost",
    "boosters_lightgbm",
    "boosters_xgboost",
    "compose",
    "emit",
    "linear",
    "scikit_trees",
    "svm",
    "text",
    "transformers",
]
