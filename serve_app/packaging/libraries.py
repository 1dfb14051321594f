"""Versions of the libraries that made a model."""

import platform
from importlib import metadata
from typing import Any

from serve_app.model.artifact import EXTRAS, installed_version
from serve_app.packaging.steps import parts_of
from serve_app.packaging.tables import PackagingError

RECORDED_LIBRARIES = ("scikit-learn", "numpy", "joblib", "onnxruntime", "onnx", "pandas")


MODULES = {"imbalanced-learn": "imblearn"}
"""Modules of libraries that have another name."""


def library_versions(estimator: Any) -> dict[str, str]:
    """Versions of what packages the estimator, and of the libraries that it is made of.

    Raises:
        PackagingError: one that packaging needs is not installed.
    """
    try:
        versions = {library: metadata.version(library) for library in RECORDED_LIBRARIES}
    except metadata.PackageNotFoundError as error:
        raise PackagingError(
            f"{error.name} is not installed; packaging needs it, serving does not: install "
            "serve-app[package]"
        ) from error
    modules = {type(part).__module__.partition(".")[0] for part in parts_of(estimator)}
    for library in sorted(set(EXTRAS) - set(versions)):
        if MODULES.get(library, library) in modules:
            versions[library] = installed_version(library)
    return {"python": platform.python_version()} | versions
