"""Serve a scikit-learn classifier with Ray Serve, on a laptop or on Google Kubernetes Engine.

The rooms, from the bottom up. A room imports only rooms below it; import-linter checks that (see
pyproject.toml).

    errors           the base of all errors that a user can cause
    model/           card, model directory, predictor: all that a replica needs of a model
    settings         arguments of the application, typed
    environment      variables of the production mode
    autoscaling      desired replicas from CPU utilisation and ongoing requests
    ray_internals    everything of Ray that is not public
    serve_config     the Serve config: read, check, override, ask
    packaging/       from a fitted estimator to a model directory; needs the compiler
    inference        model calls, alone or in micro-batches
    telemetry/       spans, metrics and log lines of a prediction
    tracing/         export of spans, and the reasons for lost ones
    http/            paths, validation, answers, errors, OpenAPI
    deployment       the Ray Serve deployment: what a replica runs
    runtime/         start, processes, signals, ports, HAProxy, drain, log forwarding
    client           a client of a running service
    cli/             the command serve-app

Beside this package: ``loadtest`` (load, scale, plan, simulate), ``deploy`` (calls gcloud and
kubectl), ``kuberay`` (manifests), ``bench`` (comparisons) and ``studies`` (experiments whose
results are in decision records).
"""
