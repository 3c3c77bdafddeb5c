# syntax=docker/dockerfile:1

# The release of Python and of Debian that the tests run on.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /source
COPY . .
RUN python -m venv --without-pip /opt/graph-runtime
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . \
    && pip --python /opt/graph-runtime/bin/python install "$(ls /wheels/graph_runtime-*.whl)[serve]"

FROM ${BASE}
COPY --from=build /opt/graph-runtime /opt/graph-runtime
ENV PATH=/opt/graph-runtime/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GRAPH_RUNTIME_REST_BIND_ADDRESS=0.0.0.0 \
    GRAPH_RUNTIME_GRPC_BIND_ADDRESS=0.0.0.0 \
    GRAPH_RUNTIME_GRPC_PORT=9000
# For compiled models, if GRAPH_RUNTIME_CACHE_DIR names it: a new volume takes over who may write, which would be root alone.
RUN mkdir -m 1777 /cache
# A folder that is mounted at /models is served; without one, the model that comes with the package.
WORKDIR /
# Any other uid works too: nothing is written but below the folders that the settings name.
USER 5000:5000
EXPOSE 8000 9000
# Is the process alive? Whether its models are loaded is another question (/v2/health/ready), and no reason to end it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/live', timeout=4)"]
# Python is process 1 and gets SIGTERM itself.
ENTRYPOINT ["graph-runtime", "serve"]
