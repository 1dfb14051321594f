"""``python -m serve_app.tracing check``: see `serve_app.tracing.check`."""

import sys

from serve_app.tracing.check import main

if __name__ == "__main__":
    sys.exit(main())
