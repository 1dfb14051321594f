"""``serve-app init``."""

from pathlib import Path

import click

from serve_app.cli.style import DIRECTORY, Command

NEXT = """
Next:
  serve-app train                          or: serve-app package fitted.joblib \\
                                               --data rows.csv --target COLUMN
  serve-app serve
  docker build -t my-model .               the image of your model
  serve-app k8s render --image NAME@sha256:DIGEST
  kubectl apply -k kuberay/overlays/gke"""


@click.command(cls=Command, example="serve-app init my-service")
@click.argument("directory", type=DIRECTORY, default=Path())
def init(directory: Path) -> None:
    """Write the files that a deployment starts from.

    They are serve_config.yaml, a Dockerfile for your model, and the manifests in kuberay/. Files
    that exist already stay as they are.
    """
    from deploy.scaffold import scaffold

    written, kept = scaffold(directory)
    tops = dict.fromkeys(path.parts[0] for path in written)
    for top in tops:
        count = sum(path.parts[0] == top for path in written)
        click.echo(f"wrote {directory / top}" + (f" ({count} files)" if count > 1 else ""))
    if kept:
        click.echo(f"{len(kept)} files were there already and stay as they are")
    click.echo(NEXT)
