"""HTTP: paths, validation of requests, answers and errors."""
