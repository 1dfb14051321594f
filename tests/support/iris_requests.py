"""A request for the default model, and small limits to try it with."""

import json

ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
BODY = json.dumps(ROW).encode()
PREDICT, BATCH = "/predict/", "/predict/batch/"
MAX_BODY_BYTES = 2000
MAX_ROWS = 10
