"""Model directories on the command line: train, package, describe."""

import json
import shutil
from pathlib import Path

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serve_app.cli.main import main
from serve_app.model.artifact import CARD_FILE, Artifact
from serve_app.model.card import ModelCard
from serve_app.model.loading import load_predictor
from tests.support.command_lines import refused
from tests.support.models import resign

ROWS = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]]
FEATURES = ("--feature", "a=0..3:cm", "--feature", "b=0..3")


@pytest.fixture
def fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogisticRegression:
    """A classifier, as ``fitted.joblib`` in the working directory; its rows are in ``rows.csv``."""
    monkeypatch.chdir(tmp_path)
    estimator = LogisticRegression().fit(ROWS, [0, 0, 1, 1])
    joblib.dump(estimator, "fitted.joblib")
    pd.DataFrame(ROWS, columns=["a", "b"]).to_csv("rows.csv", index=False)
    return estimator


def test_train_writes_a_model_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --if-missing, a model that is there already stays, so that starting again is quick."""
    command = ["train", "--out", str(tmp_path / "model"), "--if-missing"]
    assert main(command) == 0
    card = Artifact.open(tmp_path / "model").card
    assert card.version in capsys.readouterr().out
    written = (tmp_path / "model" / CARD_FILE).stat().st_mtime_ns
    assert main(command) == 0
    assert "holds a model already" in capsys.readouterr().out
    assert (tmp_path / "model" / CARD_FILE).stat().st_mtime_ns == written


def test_a_model_that_is_not_good_enough_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was trained, and its accuracy is below what was asked for: nothing is written."""
    out = tmp_path / "model"
    assert main(["train", "--out", str(out), "--minimum-accuracy", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("FAILED: accuracy 0.")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minimum-accuracy", "1.01"], "1.01 is not in the range 0<=x<=1"),
        (["--minimum-accuracy", "nan"], "nan"),
        (["--estimator", "svm"], "'svm' is not one of 'logistic_regression', 'random_forest'"),
        (["--out", "/proc/model"], "/proc/model: expected a directory that can be written"),
        (["--out", "thesis"], "found other files; fix: name another output directory"),
    ],
)
def test_train_refuses_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """Options out of range, and directories that cannot or must not be written."""
    monkeypatch.chdir(tmp_path)
    Path("thesis").mkdir()
    Path("thesis", "chapter").touch()
    assert message in refused(main, ["train", *arguments], capsys)


def test_package_makes_a_servable_directory(
    fitted: LogisticRegression, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns are those of the --feature options, in their order, with their units."""
    assert main(["package", "fitted.joblib", "--name", "mine", "--out", "out", *FEATURES]) == 0
    artifact = Artifact.open(Path("out"))
    shown = capsys.readouterr().out
    assert f"mine {artifact.card.version} -> out" in shown
    assert "agrees with" in shown
    assert [feature.unit for feature in artifact.card.features] == ["cm", None]
    rows = pd.DataFrame(ROWS).to_numpy()
    assert load_predictor(artifact).predict(rows).values == fitted.predict(rows).tolist()


def test_package_infers_columns_and_is_corrected(fitted: LogisticRegression) -> None:
    """A table with index, target and another column; a schema and an option that correct it."""
    table = pd.DataFrame(ROWS, columns=["a", "b"]).assign(label=[0, 0, 1, 1], number=[5, 6, 7, 8])
    table.to_csv("table.csv")
    Path("schema.yaml").write_text("a: {unit: cm, description: how long}\nb: {unit: kg}\n")
    command = ["package", "fitted.joblib", "--data", "table.csv", "--out", "out"]
    command += ["--target", "label", "--leave-out", "number", "--schema", "schema.yaml"]
    assert main([*command, "--feature", "b=0..9:g"]) == 0
    one, other = Artifact.open(Path("out")).card.features
    assert (one.name, one.kind, one.unit, one.description) == ("a", "number", "cm", "how long")
    assert (other.name, other.maximum, other.unit) == ("b", 9, "g")


def test_package_takes_columns_from_a_csv_file(fitted: LogisticRegression) -> None:
    """The training rows as CSV give names and ranges, and are recorded."""
    assert main(["package", "fitted.joblib", "--data", "rows.csv", "--out", "out"]) == 0
    card = Artifact.open(Path("out")).card
    assert card.feature_names == ("a", "b")
    assert card.training_data is not None
    assert card.training_data.rows == len(ROWS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.joblib", *FEATURES], "'missing.joblib' does not exist"),
        (["rows.csv", *FEATURES], "estimator: it is no joblib or pickle file; give the file that"),
        (["houses.csv", *FEATURES], "houses.csv: cannot load a fitted estimator: it is no joblib"),
        (["fitted.joblib", *FEATURES[:2]], "numbers of columns differ"),
        (
            ["fitted.joblib", "--data", "rows.csv", "--target", "c"],
            "--target: rows.csv has no column 'c'",
        ),
        (
            ["fitted.joblib", "--data", "table.csv", "--target", "label", "--leave-out", "d"],
            "--leave-out: table.csv has no column 'd'; its columns are a, b, label",
        ),
        (["fitted.joblib", *FEATURES, "--target", "a"], "give --data too"),
        (["fitted.joblib", *FEATURES, "--schema", "rows.csv"], "rows.csv: a schema maps names"),
        (["fitted.joblib", "--data", "fitted.joblib"], "it is a pickle; save it as CSV"),
        (["fitted.joblib", "--data", "table.csv"], "features has 3, estimator has 2"),
        (["harm.pkl", *FEATURES], "would run posix.system when it is loaded"),
        (["text.pkl", *FEATURES], "str has no predict"),
        (["fitted.joblib", "--feature", "a"], "is not NAME=MIN..MAX"),
        (["fitted.joblib", "--data", "missing.csv"], "'missing.csv' does not exist"),
        (["fitted.joblib", *FEATURES, "--out", "."], "found other files"),
        (["fitted.joblib"], "give --data, or --feature for each column, or both"),
        (["fitted.joblib", "--data", "headless.csv"], "put the columns' names above it"),
        (["fitted.joblib", *FEATURES, "--out", "/proc/model"], "a directory that can be written"),
    ],
)
def test_package_refuses_in_one_line(
    fitted: LogisticRegression,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    """The line names what is wrong with files, features or directory."""
    Path("headless.csv").write_text("1,2\n3,4\n")
    Path("houses.csv").write_text("city,area\nRome,50\n")
    Path("table.csv").write_text("a,b,label\n0,1,0\n1,0,1\n")
    Path("harm.pkl").write_bytes(b"cposix\nsystem\n(Vtouch harm\ntR.")
    joblib.dump("no estimator", "text.pkl")
    assert message in refused(main, ["package", *arguments], capsys)


def test_describe_shows_the_card(
    iris: Path, card: ModelCard, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a table, and as the JSON that is the card itself."""
    assert main(["describe", str(iris)]) == 0
    assert f"iris {card.version}" in capsys.readouterr().out
    assert main(["describe", str(iris), "--json"]) == 0
    assert ModelCard.model_validate(json.loads(capsys.readouterr().out)) == card


def test_describe_can_load_what_it_shows(
    iris: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --load, as a replica does: the build of an image fails where the service would."""
    assert main(["describe", "--load", str(iris)]) == 0
    model = Path(shutil.copytree(iris, tmp_path / "model"))
    resign(model, libraries={"onnxruntime": "1.0.0"})
    assert main(["describe", str(model)]) == 0
    line = refused(main, ["describe", "--load", str(model)], capsys)
    assert "install onnxruntime==1.0.0" in line


def test_describe_refuses_what_is_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the file that is missing."""
    line = refused(main, ["describe", str(tmp_path)], capsys)
    assert f"{tmp_path / CARD_FILE}: expected a model card, found no such file" in line
    assert "run `serve-app train` (Iris) or `serve-app package`" in line
