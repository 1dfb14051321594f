"""A model directory is written whole, and verified before anything in it is deserialised."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from serve_app.model.artifact import CARD_FILE, Artifact, ArtifactError, sha256, write_artifact
from serve_app.model.card import MODEL_FILE, ONNX_FILE
from serve_app.model.loading import load_predictor
from tests.support.models import resign


@pytest.fixture
def model(iris: Path, tmp_path: Path) -> Path:
    """A copy of the default model that a test may damage."""
    return Path(shutil.copytree(iris, tmp_path / "model"))


def edit_card(directory: Path, **fields: Any) -> None:
    """Change fields of the card and nothing else."""
    path = directory / CARD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


class LeavesAMark:
    """Creates a file when it is unpickled, as an attacker's code would do worse."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def test_an_intact_directory_opens(iris: Path) -> None:
    """Every file that the card lists is there, and reads as the bytes that were hashed."""
    artifact = Artifact.open(iris)
    assert set(artifact.card.files) == {MODEL_FILE, ONNX_FILE}
    for name, digest in artifact.card.files.items():
        assert sha256(artifact.read(name)) == digest


@pytest.mark.parametrize(
    ("damage", "file", "expected", "found"),
    [
        (shutil.rmtree, CARD_FILE, "a model card", "no such file"),
        (lambda d: (d / CARD_FILE).unlink(), CARD_FILE, "a model card", "no such file"),
        (lambda d: truncate(d / CARD_FILE), CARD_FILE, "a valid model card", "Invalid JSON"),
        (lambda d: edit_card(d, classes=[]), CARD_FILE, "a valid model card", "classes"),
        (lambda d: edit_card(d, name="other"), CARD_FILE, "what its content says", "version"),
        (lambda d: edit_card(d, version="0" * 12), CARD_FILE, "version", "version 000000000000"),
        (lambda d: (d / MODEL_FILE).unlink(), MODEL_FILE, "a readable file", "No such file"),
        (lambda d: flip_a_byte(d / MODEL_FILE), MODEL_FILE, "SHA-256", "SHA-256"),
        (lambda d: truncate(d / MODEL_FILE), MODEL_FILE, "SHA-256", "(100 bytes)"),
        (lambda d: flip_a_byte(d / ONNX_FILE), ONNX_FILE, "SHA-256", "SHA-256"),
        (lambda d: truncate(d / ONNX_FILE), ONNX_FILE, "SHA-256", "(100 bytes)"),
    ],
)
def test_damage_is_refused(
    model: Path, damage: Callable[[Path], None], file: str, expected: str, found: str
) -> None:
    """A file is missing, cut or altered: the error names file, expected, found and fix."""
    damage(model)
    with pytest.raises(ArtifactError) as refusal:
        Artifact.open(model)
    named, _, rest = str(refusal.value).partition(": expected ")
    assert Path(named) == model / file
    before, _, rest = rest.partition(", found ")
    after, _, fix = rest.partition("; fix: ")
    assert expected in before
    assert found in after
    assert "serve-app train" in fix


def test_another_version_than_the_pinned_one_is_refused(model: Path) -> None:
    """A model replaced as a whole is valid in itself; the pinned version tells it apart."""
    pinned = Artifact.open(model).card.version
    assert Artifact.open(model, pinned_version=pinned).card.version == pinned
    resign(model, name="other")
    Artifact.open(model)
    with pytest.raises(ArtifactError, match=f"expected version {pinned} .*change the setting"):
        Artifact.open(model, pinned_version=pinned)


def test_a_replaced_pickle_never_runs(model: Path, tmp_path: Path) -> None:
    """A model file with hostile code is refused before it is deserialised."""
    mark = tmp_path / "mark"
    joblib.dump(LeavesAMark(mark), model / MODEL_FILE)
    with pytest.raises(ArtifactError, match="SHA-256"):
        Artifact.open(model)
    assert not mark.exists()
    joblib.load(model / MODEL_FILE)
    assert mark.exists(), "the payload is harmless, so this test proves nothing"


def test_a_pickle_replaced_after_the_check_never_runs(model: Path, tmp_path: Path) -> None:
    """Loading verifies again the very bytes that it deserialises."""
    artifact = Artifact.open(model)
    mark = tmp_path / "mark"
    joblib.dump(LeavesAMark(mark), model / MODEL_FILE)
    with pytest.raises(ArtifactError, match="SHA-256"):
        load_predictor(artifact, "sklearn")
    assert not mark.exists()


@pytest.mark.parametrize("libraries", [{"scikit-learn": "0.24.0", "numpy": "1.0"}, {}])
def test_a_pickle_of_other_libraries_never_runs(
    model: Path, tmp_path: Path, libraries: dict[str, str]
) -> None:
    """Library versions are compared before the estimator is deserialised."""
    mark = tmp_path / "mark"
    joblib.dump(LeavesAMark(mark), model / MODEL_FILE)
    resign(model, libraries=libraries)
    with pytest.raises(ArtifactError, match=r"card\.json: expected .*scikit-learn.*; fix: "):
        load_predictor(Artifact.open(model), "sklearn")
    assert not mark.exists()


def test_only_files_of_the_card_are_read(iris: Path) -> None:
    """A name that the card does not list is refused, even if the directory holds it."""
    with pytest.raises(ArtifactError, match="an entry in the card's files"):
        Artifact.open(iris).read(CARD_FILE)


def test_the_error_survives_the_way_between_processes() -> None:
    """Ray pickles exceptions: nothing of the message may be lost."""
    error = ArtifactError(Path("model"), expected="this", found="that", fix="do so")
    assert str(pickle.loads(pickle.dumps(error))) == "model: expected this, found that; fix: do so"


def test_writing_replaces_the_model_as_a_whole(model: Path) -> None:
    """No file of the old model stays, and nothing is left beside the directory."""
    card = Artifact.open(model).card
    (model / "stray").touch()
    written = write_artifact(model, card, {MODEL_FILE: b"new"})
    assert {path.name for path in model.iterdir()} == {CARD_FILE, MODEL_FILE}
    assert Artifact.open(model).card == written
    assert written.version != card.version
    assert list(model.parent.iterdir()) == [model]


def test_a_failed_write_leaves_the_old_model(model: Path) -> None:
    """What cannot be written whole changes nothing and leaves nothing behind."""
    card = Artifact.open(model).card
    with pytest.raises(ArtifactError, match="found No such file or directory; fix: "):
        write_artifact(model, card, {MODEL_FILE: b"new", "no-such-directory/file": b""})
    assert Artifact.open(model).card == card
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize(
    ("failure", "error"),
    [(OSError(28, "No space left on device"), ArtifactError), (KeyboardInterrupt(), None)],
)
def test_a_failed_swap_puts_the_old_model_back(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    error: type[Exception] | None,
) -> None:
    """If the last step fails or is interrupted, the old model is where it was."""
    card = Artifact.open(model).card
    rename = Path.rename

    def stop_at_the_new_model(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop_at_the_new_model)
    with pytest.raises(error or KeyboardInterrupt):
        write_artifact(model, card, {MODEL_FILE: b"new"})
    assert Artifact.open(model).card == card
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("parent", ["/proc", "/dev/null", "/dev/null/models"])
def test_a_directory_that_cannot_be_written_is_refused(iris: Path, parent: str) -> None:
    """The operating system's refusal becomes one line that names directory, reason and fix."""
    directory = Path(parent, "model")
    with pytest.raises(ArtifactError, match=r"can be written, found [A-Z].*; fix: name") as refusal:
        write_artifact(directory, Artifact.open(iris).card, {MODEL_FILE: b""})
    assert str(refusal.value).startswith(f"{directory}: ")


def test_an_empty_directory_is_filled(iris: Path, tmp_path: Path) -> None:
    """A directory made beforehand is no obstacle."""
    write_artifact(tmp_path, Artifact.open(iris).card, {MODEL_FILE: b"new"})
    assert Artifact.open(tmp_path).read(MODEL_FILE) == b"new"


@pytest.mark.parametrize(
    ("directory", "found"), [("documents", "other files"), ("documents/thesis", "a file")]
)
def test_what_is_no_model_directory_is_never_replaced(
    iris: Path, tmp_path: Path, directory: str, found: str
) -> None:
    """A mistyped output directory costs no files."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis").write_text("years of work")
    with pytest.raises(ArtifactError, match=f"found {found}; fix: name another"):
        write_artifact(tmp_path / directory, Artifact.open(iris).card, {MODEL_FILE: b""})
    assert (tmp_path / "documents" / "thesis").read_text() == "years of work"
