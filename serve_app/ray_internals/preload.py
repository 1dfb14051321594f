"""Makes a process of Ray ready for Serve before it is asked for anything.

Ray imports this module in each worker process that it starts: ``RAY_preload_python_modules`` names
it; ``try_import_each_module`` in ray/_private/utils.py.
"""

from serve_app.ray_internals.lean import import_serve

import_serve()
