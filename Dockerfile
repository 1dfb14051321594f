# syntax=docker/dockerfile:1
# One image for every role: `docker run -p 8000:8000 IMAGE` serves on one machine, and KubeRay starts
# the same image as head or worker with a command of its own. See docs/decisions/0006-image.md.

# Minor version as in noxfile.py. A release pins the digest:
#   --build-arg PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm

# What serves: the locked dependencies. `--build-arg LOCK=engines` adds pandas, XGBoost, LightGBM,
# CatBoost and imbalanced-learn, for models that the estimator itself serves.
FROM ${PYTHON_IMAGE} AS dependencies
ARG LOCK=serve
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_PYTHON=/opt/venv/bin/python \
    PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv
WORKDIR /build
COPY locks/serve.txt locks/engines.txt locks/
RUN pip install --require-hashes --requirement "locks/${LOCK}.txt"

# What trains: the model and the project's wheel leave this stage, the compiler does not.
FROM dependencies AS model
COPY locks/package.txt locks/
RUN pip install --require-hashes --requirement locks/package.txt
COPY pyproject.toml README.md LICENSE serve_config.yaml ./
COPY serve_app serve_app
COPY loadtest loadtest
COPY deploy deploy
COPY kuberay kuberay
# What `serve-app train` offers.
ARG ESTIMATOR=logistic_regression
# The build has no git history to take the version of the package from.
ARG PACKAGE_VERSION="0.0.0"
RUN SETUPTOOLS_SCM_PRETEND_VERSION="${PACKAGE_VERSION}" \
    pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/venv/bin/python -m serve_app train --estimator "${ESTIMATOR}" --out model
# Given, it must be the model that this build made: the label below is then true.
ARG MODEL_VERSION=""
RUN test -z "${MODEL_VERSION}" || grep --quiet "\"version\": \"${MODEL_VERSION}\"" model/card.json

FROM dependencies AS application
COPY --from=model /build/dist dist
RUN pip install --no-deps --no-index dist/*.whl
# No service uses these: tests, Java workers, reinforcement and language models, wheels for virtual
# environments, a profiler that needs more rights, the C library of ONNX Runtime, debug symbols.
# numpy.testing, which scikit-learn imports, needs one of numpy's own test modules; auditwheel's
# *.libs do not survive strip.
RUN apt-get update -qq && apt-get install -qq --no-install-recommends binutils >/dev/null \
 && cd /opt/venv/lib/python3.*/site-packages \
 && find . -depth -type d -name tests ! -path ./numpy/_core/tests -exec rm -r {} + \
 && rm -r ray/jars ray/llm ray/rllib virtualenv/seed/wheels/embed/*.whl \
      onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
      onnxruntime/capi/libonnxruntime.so.* /opt/venv/bin/py-spy \
 && find . -name '*.so' ! -path '*.libs/*' -exec strip --strip-unneeded {} + \
 && strip --strip-unneeded ray/core/src/ray/gcs/gcs_server ray/core/src/ray/raylet/raylet
# Proof that nothing is missing: both engines answer, and so does Ray's command line.
COPY --from=model /build/model model
RUN /opt/venv/bin/ray --version \
 && /opt/venv/bin/python -c "import pathlib, ray.serve, serve_app.model.artifact as a, serve_app.model.loading as l; \
[l.load_predictor(a.Artifact.open(pathlib.Path('model')), engine) for engine in ('onnx', 'sklearn')]"

FROM ${PYTHON_IMAGE}
# Nothing is installed at run time. The base has no bytecode, and nobody can write it here later:
# each of Ray's dozen processes would compile the standard library anew at every start.
RUN rm -r /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/pip* \
      /usr/local/lib/python3.*/ensurepip \
 && python -m compileall -q -x '/(idlelib|lib2to3|site-packages|test|tkinter|turtledemo)/' \
    /usr/local/lib/python3.* \
 && useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --shell /usr/sbin/nologin serve
COPY --from=application /opt/venv /opt/venv
WORKDIR /app
COPY serve_config.yaml ./
COPY --from=model /build/model model

# Set by the build of a release; see .github/workflows.
ARG SOURCE=""
ARG REVISION=""
ARG VERSION=""
ARG MODEL_VERSION=""
LABEL org.opencontainers.image.title="serve-app" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      serve-app.model.version="${MODEL_VERSION}"

ENV PATH=/opt/venv/bin:${PATH} \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The production mode, as in serve_app/environment.py: KubeRay starts Ray nodes without
# `serve-app serve`, which would set it. A test fails when the two differ. What follows from the
# Serve config is not here: the launcher and the manifests take it from there.
ENV RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_HAPROXY_METRICS_ENABLED=0 \
    RAY_SERVE_HAPROXY_NBTHREAD=2 \
    RAY_SERVE_METRICS_EXPORT_INTERVAL_MS=1000 \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.http.middleware:middlewares \
    RAY_preload_python_modules=serve_app.ray_internals.preload \
    RAY_worker_niceness=0 \
    OMP_NUM_THREADS=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_HAPROXY_MAXCONN=10000 \
    RAY_SERVE_HAPROXY_TUNE_BUFSIZE=32768 \
    RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=30 \
    RAY_max_direct_call_object_size=1048576 \
    RAY_SERVE_SLOW_STARTUP_WARNING_S=120 \
    RAY_SERVE_HAPROXY_RETRY_ON="conn-failure empty-response"
# Edits the config that Ray writes for HAProxy, and becomes HAProxy.
ENV RAY_SERVE_HAPROXY_BINARY_PATH=/opt/venv/bin/serve-app-haproxy
# Without Google credentials the service says so once and serves without spans.
ENV OTEL_TRACES_EXPORTER=gcp_trace \
    OTEL_SERVICE_NAME=serve-app \
    OTEL_RESOURCE_ATTRIBUTES=service.version=${VERSION} \
    OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=gcp \
    RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH=serve_app.tracing.hook:span_processors \
    RAY_SERVE_TRACING_SAMPLING_RATIO=0.1

USER 10001:10001
EXPOSE 8000
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('AIP_HTTP_PORT') or 8000}/-/healthz\", timeout=4)"]
CMD ["serve-app", "serve", "--no-dashboard", "--host", "0.0.0.0"]
