"""What ``serve-app package`` reads: the file of an estimator, of training rows, of a schema."""

import functools
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from serve_app.errors import excerpt
from serve_app.model.artifact import require_replaceable
from serve_app.packaging.corrections import corrections_of, parse_feature, read_schema
from serve_app.packaging.estimator import own_names, require_estimator
from serve_app.packaging.package import Packaged, package
from serve_app.packaging.progress import Report
from serve_app.packaging.steps import facts_of
from serve_app.packaging.tables import PackagingError, names, read_table

HARMFUL = frozenset(
    (
        *("os", "posix", "nt", "subprocess", "pty", "socket", "webbrowser", "runpy", "shutil"),
        *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__"),
    )
)
"""Modules and functions that no estimator needs, and that files which do harm use.

This stops the usual attempts and no determined one: only files that are trusted are to be loaded.
"""


COMPRESSED = (b"\x78", b"\x1f\x8b", b"BZ", b"\x5d\x00", b"\xfd7zXZ", b"\x04\x22\x4d\x18")
"""How files start that joblib compresses: zlib, gzip, bz2, lzma, xz, lz4."""


class Loaded(NamedTuple):
    """An estimator from a file."""

    estimator: Any
    fitted_with: str | None
    """Version of scikit-learn that wrote the file, if it is not the installed one."""


def package_files(
    estimator: Path,
    data: Path | None,
    directory: Path,
    *,
    targets: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    schema: Path | None = None,
    features: Sequence[str] = (),
    name: str | None = None,
    report: Report | None = None,
) -> Packaged:
    """Package what files and options say.

    Args:
        estimator: file that joblib.dump wrote; it is deserialised.
        data: file of the training rows.
        directory: model directory to write.
        targets: columns of ``data`` that are predicted.
        leave_out: other columns of ``data`` that are no inputs.
        schema: file of corrections.
        features: columns as ``NAME=MIN..MAX[:UNIT]``, which correct the schema.
        name: model name.
        report: shows a line about what takes long or should be known.

    Raises:
        PackagingError: a file cannot be read, or the estimator cannot be packaged.
        ArtifactError: ``directory`` cannot be written.
    """
    require_replaceable(directory)
    corrections = read_schema(schema) if schema else {}
    for column, fields in corrections_of([parse_feature(text) for text in features]).items():
        corrections[column] = corrections.get(column, {}) | fields
    if (targets or leave_out) and data is None:
        raise PackagingError("--target and --leave-out name columns of --data; give --data too")
    loaded = load_estimator(estimator)
    require_estimator(loaded.estimator)
    rows = None
    if data is not None:
        facts = facts_of(loaded.estimator, own_names(loaded.estimator))
        known = {column: each.categories for column, each in facts.items()}
        rows = read_table(data, known=known, report=report)
        for option, columns in (("--target", targets), ("--leave-out", leave_out)):
            unknown = [name for name in columns if name not in rows.columns]
            if unknown:
                raise PackagingError(
                    f"{option}: {data} has no column {', '.join(map(repr, unknown))}; its columns "
                    f"are {names(rows.columns)}"
                )
        rows = rows.drop(columns=[*targets, *leave_out])
    return package(
        loaded.estimator,
        directory,
        features=corrections or None,
        training_data=rows,
        targets=targets or None,
        name=name,
        fitted_with=loaded.fitted_with,
        report=report,
    )


def load_estimator(path: Path) -> Loaded:
    """The estimator in a file that ``joblib.dump`` or ``pickle.dump`` wrote; it is deserialised.

    Raises:
        PackagingError: the file cannot be read or deserialised.
    """
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        with warnings.catch_warnings(record=True) as caught, _guard():
            warnings.simplefilter("always")
            estimator = joblib.load(path)
    except (KeyboardInterrupt, PackagingError):
        raise
    except ModuleNotFoundError as error:
        _require_pickle(path)
        raise PackagingError(
            f"{path}: cannot load a fitted estimator: it needs the module {error.name!r}, which is "
            "not installed; install it here and in the serving environment"
        ) from error
    except BaseException as error:  # a file can raise anything, also SystemExit
        _require_pickle(path)
        raise PackagingError(
            f"{path}: cannot load a fitted estimator: {type(error).__name__}: "
            f"{excerpt(str(error)) or 'no message'}; give a file that joblib.dump wrote"
        ) from error
    versions = [
        warning.message.original_sklearn_version
        for warning in caught
        if isinstance(warning.message, InconsistentVersionWarning)
    ]
    return Loaded(estimator, versions[0] if versions else None)


def _require_pickle(path: Path) -> None:
    """Check that a file starts or ends as pickles do: any text holds instructions of pickle.

    Raises:
        PackagingError: it does not.
    """
    try:
        content = path.read_bytes()
    except OSError:  # its own message says more
        return
    # Pickles in text, of protocol 0 and 1, have no mark at their start.
    if content and not content.startswith((b"\x80", *COMPRESSED)) and content[-1:] != b".":
        raise PackagingError(
            f"{path}: cannot load a fitted estimator: it is no joblib or pickle file; give the "
            "file that joblib.dump wrote, and the training rows with --data"
        )


@contextmanager
def _guard() -> Iterator[None]:
    """Within, a pickle that refers to something harmful is not loaded."""
    watching = _watching()
    watching.append(True)
    try:
        yield
    finally:
        watching.pop()


@functools.cache
def _watching() -> list[bool]:
    """Installs the hook, once: Python cannot remove one. Not empty while a pickle is loaded."""
    watching: list[bool] = []

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class" and watching:
            module, name = map(str, arguments[:2])
            if module.partition(".")[0] in HARMFUL or f"{module}.{name}" in HARMFUL:
                raise PackagingError(
                    f"the file is no estimator: it would run {module}.{name} when it is loaded; "
                    "package only files that you trust"
                )

    sys.addaudithook(refuse)
    return watching
