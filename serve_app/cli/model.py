"""``serve-app train``, ``package`` and ``describe``: model directories."""

from pathlib import Path

import click

from serve_app.cli.style import DIRECTORY, EXISTING_FILE, SHARE, Command, extra
from serve_app.packaging.recipes import ESTIMATORS, MINIMUM_ACCURACY

OUT = click.option("--out", type=DIRECTORY, default=Path("model"), help="Model directory to write.")


@click.command(cls=Command, example="serve-app train --estimator random_forest --out forest")
@OUT
@click.option(
    "--estimator", type=click.Choice(ESTIMATORS), default=ESTIMATORS[0], help="What to train."
)
@click.option(
    "--minimum-accuracy",
    type=SHARE,
    default=MINIMUM_ACCURACY,
    help="Write no model whose accuracy on held-out rows is below this.",
)
@click.option("--if-missing", is_flag=True, help="Do nothing if there is a model already.")
def train(out: Path, estimator: str, minimum_accuracy: float, *, if_missing: bool) -> None:
    """Train a classifier on Iris, check it on held-out rows, and package it."""
    from serve_app.model.artifact import CARD_FILE

    if if_missing and (out / CARD_FILE).exists():
        click.echo(f"{out} holds a model already")
        return
    with extra("package"):
        from serve_app.packaging import train as training
    click.echo(training.train(out, estimator=estimator, minimum_accuracy=minimum_accuracy))


@click.command(
    cls=Command,
    example="serve-app package fitted.joblib --data rows.csv --target price --out house",
)
@click.argument("estimator", type=EXISTING_FILE)
@click.option(
    "--data",
    type=EXISTING_FILE,
    help="The training rows: CSV with a header line (also .gz), or Parquet.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="COLUMN",
    help="A column of --data that is predicted, and no input; once for each output.",
)
@click.option(
    "--leave-out",
    multiple=True,
    metavar="COLUMN",
    help="Another column of --data that is no input, such as a number of the row.",
)
@click.option(
    "--schema",
    type=EXISTING_FILE,
    help="YAML or JSON that says of some columns what is to be changed, such as "
    "{age: {unit: years, kind: integer}}.",
)
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME=MIN..MAX[:UNIT]",
    help="A column, in the estimator's order, such as sepal_length=4.3..7.9:cm; once for each.",
)
@click.option("--name", help="Name of the model.  [default: what it is, such as classifier]")
@OUT
def package(  # noqa: PLR0917 - click passes them by name
    estimator: Path,
    data: Path | None,
    targets: tuple[str, ...],
    leave_out: tuple[str, ...],
    schema: Path | None,
    features: tuple[str, ...],
    name: str | None,
    out: Path,
) -> None:
    """Package ESTIMATOR, a file that joblib.dump wrote, as a model directory.

    The file is deserialised, which runs what is in it: package only files that you trust. Columns
    are inferred from --data and the estimator, and corrected by --schema and --feature.
    """
    if not (data or schema or features):
        raise click.UsageError("give --data, or --feature for each column, or both")
    with extra("package"):
        from serve_app.packaging.files import package_files
        from serve_app.packaging.summary import summary
        from serve_app.runtime.signals import stopped_by_signals
    with stopped_by_signals():
        packaged = package_files(
            estimator,
            data,
            out,
            targets=targets,
            leave_out=leave_out,
            schema=schema,
            features=features,
            name=name,
            report=lambda line: click.echo(line, err=True),
        )
    click.echo(summary(*packaged))


@click.command(cls=Command, example="serve-app describe model")
@click.argument("directory", type=DIRECTORY, default=Path("model"))
@click.option("--json", "as_json", is_flag=True, help="Print the model card as JSON.")
@click.option(
    "--load",
    is_flag=True,
    help="Also load the model as a replica does; this runs code of a model that has no ONNX form.",
)
def describe(directory: Path, *, as_json: bool, load: bool) -> None:
    """Verify a model directory and show its card: features, proof, metrics, digests."""
    from serve_app.model.artifact import Artifact
    from serve_app.model.description import describe_card

    artifact = Artifact.open(directory)
    card = artifact.card
    if load:
        from serve_app.model.loading import load_predictor

        load_predictor(artifact)
    click.echo(card.model_dump_json(indent=2) if as_json else describe_card(card))
