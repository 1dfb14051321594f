"""What a deployment of a user's own model starts from: Serve config, Dockerfile, manifests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy.names import PACKAGED_MANIFESTS
from serve_app.errors import UserError
from serve_app.serve_config import CONFIG_FILE, packaged_config

TEMPLATES = Path(__file__).with_name("templates")


def scaffold(directory: Path) -> tuple[list[Path], list[Path]]:
    """Write every file that is missing, and ``directory`` itself; existing files stay as they are.

    Returns:
        The files written and the files that were there already, relative to ``directory``.

    Raises:
        UserError: ``directory`` cannot be written to.
    """
    written, kept = [], []
    try:
        for source, target in _files():
            path = directory / target
            if path.exists():
                kept.append(target)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
            written.append(target)
    except OSError as error:
        raise UserError(
            f"{directory} cannot be written to ({error.strerror}); name another directory"
        ) from error
    return written, kept


def _files() -> Iterator[tuple[Path, Path]]:
    """Source and target of each file."""
    yield packaged_config(), Path(CONFIG_FILE)
    yield TEMPLATES / "Dockerfile", Path("Dockerfile")
    yield TEMPLATES / "dockerignore", Path(".dockerignore")
    for path in sorted(PACKAGED_MANIFESTS.rglob("*")):
        if path.is_file():
            yield path, path.relative_to(PACKAGED_MANIFESTS.parent)
