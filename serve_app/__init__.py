"""Serve a scikit-learn classifier with Ray Serve, on a laptop or on Google Kubernetes Engine.

Where things are, in the order of their imports (each module knows only those above it):

    model.card         what a model is: names, ranges, classes, digests, metrics
    model.artifact     the model directory: written whole, verified before it is read
    model.predictor    rows in, classes and probabilities out: ONNX Runtime or scikit-learn
    model.loading      a verified directory -> a predictor that answers its sample
    model.compiler     scikit-learn to ONNX, with the proof that both agree
    model.columns      names, ranges and rows: from a DataFrame, CSV or the command line
    model.estimator    what can be packaged: classes, columns, a sample
    package            any fitted classifier -> a model directory  serve-app package
    train              Iris -> a model directory                   serve-app train

    settings           everything that can be tuned, typed
    autoscaling        how many replicas: CPU utilisation and ongoing requests
    inference          one model call, alone or micro-batched, with its start and end
    telemetry          spans, metrics and log lines of a prediction
    environment        variables of the production mode, for every process of Ray

    tracing.failures   why spans did not arrive, and what to do about it
    tracing.exporters  where spans go: which exporter
    tracing.delivery   what became of each span: exported, failed or dropped
    tracing.hook       what Ray Serve calls for its tracer
    tracing.check      do spans arrive?                            serve-app traces check

    http.middleware    refuses what Ray Serve cannot read
    http.errors        what is wrong with a request body, for clients
    http.schemas       what a request must look like: validation and JSON schema
    http.body          the body of a JSON request, within its limits
    http.openapi       the OpenAPI document
    http.routes        paths, status codes, answers

    deployment         the Ray Serve deployment and its application builder
    ingress            HAProxy from outside: lets it answer what it has accepted
    drain              how a Ray node leaves: ingress first        serve-app pod drain
    log_lines          replicas' events, from Ray's files to the pod   serve-app pod logs
    local_service      a Ray and a Ray Serve of their own, from start to drain
    launcher           the production mode on one machine          python -m serve_app
"""
