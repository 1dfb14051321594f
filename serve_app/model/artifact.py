"""The model directory: written whole or not at all, verified before anything is deserialised."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from serve_app.errors import UserError, first_error
from serve_app.model.card import ModelCard

CARD_FILE = "card.json"
EXTRAS = {
    "pandas": "frames",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "imbalanced-learn": "imbalanced-learn",
}
"""Libraries that only some models need, each with the extra of serve-app that installs it."""
DISTRIBUTIONS = {"xgboost": ("xgboost", "xgboost-cpu")}
"""Distributions that install a library, where it is not the one of its name."""
REPACKAGE = "make the model again with `serve-app train` (Iris) or `serve-app package`"


class ArtifactError(UserError):
    """A model directory that must not be served: names the file, what was found and the fix."""

    def __init__(self, path: Path, *, expected: str, found: str, fix: str = REPACKAGE) -> None:
        super().__init__(f"{path}: expected {expected}, found {found}; fix: {fix}")
        self._arguments = (path, expected, found, fix)

    def __reduce__(self) -> tuple[object, ...]:
        # Ray carries exceptions between processes by pickle, which knows positional arguments only.
        return _rebuild_error, self._arguments


def _rebuild_error(path: Path, expected: str, found: str, fix: str) -> ArtifactError:
    return ArtifactError(path, expected=expected, found=found, fix=fix)


def installed_version(library: str) -> str:
    """Version of a library, whichever distribution installed it.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    for name in DISTRIBUTIONS.get(library, ()):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return metadata.version(library)


def sha256(content: bytes) -> str:
    """SHA-256 of ``content`` in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A model directory whose card and files have been verified."""

    directory: Path
    card: ModelCard

    @classmethod
    def open(cls, directory: Path, *, pinned_version: str | None = None) -> "Artifact":
        """Read the card and verify every digest; nothing is deserialised but the card's JSON.

        Raises:
            ArtifactError: directory, card or file missing, unreadable, truncated or altered, or
                not the pinned version.
        """
        card = _read_card(directory.absolute() / CARD_FILE)
        if card.version != card.content_version():
            raise ArtifactError(
                directory / CARD_FILE,
                expected=f"version {card.content_version()} (what its content says)",
                found=f"version {card.version}",
            )
        if pinned_version is not None and card.version != pinned_version:
            raise ArtifactError(
                directory / CARD_FILE,
                expected=f"version {pinned_version} (setting model_version)",
                found=f"version {card.version}",
                fix="serve the directory of that version, or change the setting",
            )
        artifact = cls(directory.absolute(), card)
        for name in card.files:
            artifact.read(name)
        return artifact

    def read(self, name: str) -> bytes:
        """Content of one file, verified: the bytes that were hashed are the bytes returned.

        Raises:
            ArtifactError: the file is missing or its SHA-256 is not the card's.
        """
        path = self.directory / name
        expected = self.card.files.get(name)
        if expected is None:
            raise ArtifactError(path, expected="an entry in the card's files", found="none")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(
                path, expected="a readable file", found=error.strerror or str(error)
            ) from error
        found = sha256(content)
        if found != expected:
            raise ArtifactError(
                path,
                expected=f"SHA-256 {expected}",
                found=f"SHA-256 {found} ({len(content)} bytes)",
            )
        return content

    def require_libraries(self, names: tuple[str, ...]) -> None:
        """Check that the libraries that will run the model are those that packaged it.

        Raises:
            ArtifactError: one is not installed, or in another version than the card records.
        """
        for name in names:
            recorded = self.card.libraries.get(name)
            if recorded is None:
                raise ArtifactError(
                    self.directory / CARD_FILE,
                    expected=f"the version of {name} among the libraries",
                    found="none",
                )
            installed = self._installed(name, recorded)
            if installed != recorded:
                raise ArtifactError(
                    self.directory / CARD_FILE,
                    expected=f"{name} {recorded} (packaged with)",
                    found=f"{name} {installed} (installed)",
                    fix=f"install {name}=={recorded}, or {REPACKAGE}",
                )

    def _installed(self, name: str, recorded: str) -> str:
        try:
            return installed_version(name)
        except metadata.PackageNotFoundError:
            wanted = f"serve-app[{EXTRAS[name]}]" if name in EXTRAS else f"{name}=={recorded}"
            raise ArtifactError(
                self.directory / CARD_FILE,
                expected=f"{name} {recorded}, which this model needs",
                found=f"no {name} here",
                fix=f"install {wanted}",
            ) from None


def require_replaceable(directory: Path) -> None:
    """Check that ``directory`` holds a model, or nothing, or does not exist.

    Raises:
        ArtifactError: it holds something else.
    """
    if directory.exists():
        _refuse_foreign_directory(directory.absolute())


def write_artifact(
    directory: Path,
    card: ModelCard,
    files: Mapping[str, bytes],
    *,
    check: Callable[[Path], None] | None = None,
) -> ModelCard:
    """Write files and card; ``directory`` holds the old model or the new one, also after a failure.

    Args:
        directory: replaced as a whole.
        card: its digests and version are filled in here.
        files: content of each file by its name.
        check: called with a directory that holds the new model, before the old one is replaced;
            raises where the new one must not be served.

    Returns:
        The card as written, with its digests and version filled in.

    Raises:
        ArtifactError: ``directory`` holds something else than a model, or cannot be written.
    """
    directory = directory.absolute()
    digests = {name: sha256(content) for name, content in files.items()}
    card = card.model_copy(update={"files": digests}).versioned()
    text = card.model_dump_json(indent=2) + "\n"
    try:
        _replace_directory(directory, {**files, CARD_FILE: text.encode()}, check)
    except OSError as error:
        raise ArtifactError(
            directory,
            expected="a directory that can be written",
            found=error.strerror or str(error),
            fix="name another output directory, or make this one and the one above it writable",
        ) from error
    return card


def _replace_directory(
    directory: Path, files: Mapping[str, bytes], check: Callable[[Path], None] | None
) -> None:
    # A link to a model stays a link.
    directory = directory.resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as scratch:
        staged, replaced = Path(scratch, "new"), Path(scratch, "old")
        staged.mkdir(mode=0o755)
        for name, content in files.items():
            (staged / name).write_bytes(content)
        if check is not None:
            check(staged)
        try:
            if directory.exists():
                _refuse_foreign_directory(directory)
                directory.rename(replaced)
            staged.rename(directory)
        except BaseException:
            # Also after Ctrl-C: the scratch directory, with the old model in it, is removed.
            if replaced.exists() and not directory.exists():
                replaced.rename(directory)
            raise


def _refuse_foreign_directory(directory: Path) -> None:
    if not directory.is_dir():
        found = "a file"
    elif any(directory.iterdir()) and not (directory / CARD_FILE).is_file():
        found = "other files"
    else:
        return
    raise ArtifactError(
        directory,
        expected="a model directory or an empty one",
        found=found,
        fix="name another output directory",
    )


def _read_card(path: Path) -> ModelCard:
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(
            path,
            expected="a model card",
            found="no such file",
            fix="run `serve-app train` (Iris) or `serve-app package`, or set model_dir to a "
            "packaged model",
        ) from error
    except OSError as error:
        raise ArtifactError(
            path, expected="a readable model card", found=error.strerror or str(error)
        ) from error
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(
            path, expected="a valid model card", found=first_error(error)
        ) from error
