"""What packaging reads from an estimator: its task, its columns, and what it takes."""

from collections.abc import Sequence
from typing import Any

from serve_app.packaging.steps import parts_of
from serve_app.packaging.tables import PackagingError, names


def class_name(estimator: Any) -> str:
    """Name for messages."""
    return type(estimator).__name__


def how_to_leave_out(columns: str) -> str:
    """How a user of the command or of Python leaves out columns, for messages."""
    return (
        f"leave out {columns}: with --target or --leave-out of the command, or from training_data"
    )


def require_estimator(estimator: Any) -> None:
    """Check that there is something to ask.

    Raises:
        PackagingError: no ``predict``.
    """
    if isinstance(estimator, dict | list | tuple):
        raise PackagingError(
            f"a {class_name(estimator)} is no estimator; give the fitted estimator itself"
        )
    if isinstance(estimator, type):
        raise PackagingError(f"{estimator.__name__} is a class; give a fitted estimator")
    if not callable(getattr(estimator, "predict", None)):
        raise PackagingError(
            f"{class_name(estimator)} has no predict, so there is nothing to serve; package an "
            "estimator or a pipeline that predicts"
        )
    if f"{type(estimator).__module__}.{class_name(estimator)}" == "xgboost.core.Booster":
        raise PackagingError(
            "a Booster takes no tables; load it into an XGBClassifier or XGBRegressor with "
            "load_model, and package that"
        )


def own_names(estimator: Any) -> tuple[str, ...]:
    """Names of the columns that the estimator was fitted on; none if it does not know them."""
    for part in parts_of(estimator):
        found = getattr(part, "feature_names_in_", None)
        if found is None and hasattr(part, "get_cat_feature_indices"):  # CatBoost
            found = part.feature_names_
            if list(found) == [str(position) for position in range(len(found))]:
                found = None
        if found is not None:
            return tuple(map(str, found))
        if hasattr(part, "transformers_") or hasattr(part, "n_features_in_"):
            return ()
    return ()


def order_of_columns(estimator: Any, given: Sequence[str]) -> list[str]:
    """The given names, in the order in which the estimator takes its columns.

    Raises:
        PackagingError: another number of columns, or other names than the estimator's.
    """
    known = own_names(estimator)
    if not known:
        width = getattr(estimator, "n_features_in_", None)
        if width is not None and int(width) != len(given):
            raise PackagingError(
                f"numbers of columns differ: features has {len(given)}, estimator has "
                f"{int(width)}; the columns given are {names(given)}"
            )
        return list(given)
    spelled = {name: name for name in given}
    if set(spelled) != set(known) and "lightgbm" in _libraries(estimator):
        # LightGBM has its names without blanks, and takes them as they were.
        spelled = {name.replace(" ", "_"): name for name in given}
    if len(given) != len(known) or set(spelled) != set(known):
        raise PackagingError(_other_names(known, given))
    return [spelled[name] for name in known]


def _libraries(estimator: Any) -> set[str]:
    return {type(part).__module__.partition(".")[0] for part in parts_of(estimator)}


def _other_names(known: Sequence[str], given: Sequence[str]) -> str:
    missing = [name for name in known if name not in given]
    extra = [name for name in given if name not in known]
    fix = "give the columns under the names that it was fitted on"
    if extra and not missing:
        fix = how_to_leave_out(names(extra))
    return (
        f"names of columns differ: the estimator was fitted on {names(known, 30)}; given are "
        f"{names(given, 30)}; {fix}"
    )
