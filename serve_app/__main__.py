"""``python -m serve_app``: see `serve_app.launcher`."""

import sys

from serve_app.launcher import main

if __name__ == "__main__":
    sys.exit(main())
