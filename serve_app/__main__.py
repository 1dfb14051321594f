"""``python -m serve_app`` is ``serve-app``."""

import sys


def main() -> int:
    """Run ``serve-app``; returns the exit code."""
    try:
        from serve_app.cli.main import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
