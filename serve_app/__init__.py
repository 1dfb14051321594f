"""Serve a scikit-learn classifier with Ray Serve, on a laptop or on Google Kubernetes Engine.

Where things are, in the order of their imports (each module knows only those above it):

    card             what a model is: names, ranges, classes, digests, metrics
    artifact         the model directory: written whole, verified before it is read
    predictor        rows in, classes and probabilities out (ONNX Runtime or scikit-learn)
    loading          a verified directory -> a predictor that answers the card's sample
    compiler         scikit-learn to ONNX, with the proof that both agree
    columns          names, ranges and rows: from a DataFrame, CSV or the command line
    estimator        what packaging asks of an estimator: classes, columns, first answers
    package          any fitted classifier -> a model directory  python -m serve_app.package
    train            Iris -> a model directory                   python -m serve_app.train

    settings         everything that can be tuned, typed
    autoscaling      how many replicas: CPU utilisation and ongoing requests
    body_errors      what is wrong with a request body, for clients
    schemas          what a request must look like: validation and JSON schema
    inference        one model call, alone or micro-batched, with its start and end
    telemetry        spans, metrics and log lines of a prediction
    export_failures  why spans did not arrive, and what to do about it
    exporters        where spans go: which exporter
    delivery         what became of each span: exported, failed or dropped
    middleware       refuses what Ray Serve cannot read
    environment      variables of the production mode, for every process of Ray
    tracing          Ray Serve's tracing hook                    python -m serve_app.tracing check
    request_body     the body of a JSON request, within its limits
    openapi          the OpenAPI document
    routes           HTTP: paths, status codes, bodies
    deployment       the Ray Serve deployment and its application builder
    drain            how a Ray node leaves: ingress first          python -m serve_app.drain
    local_service    a Ray and a Ray Serve of their own, from start to drain
    launcher         the production mode on one machine          python -m serve_app
"""
