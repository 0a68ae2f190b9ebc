# labelpilot, without weights and without secrets: both come in at run time (see compose.yaml).
#
#   docker build -t labelpilot .                              for a CPU
#   docker build -t labelpilot --build-arg DEVICE=cuda:0 .    for an NVIDIA GPU (run with --gpus all)
#   docker run -p 127.0.0.1:9090:9090 -e LABELPILOT_ALLOW_ANYBODY=true labelpilot
#
# The last one lets in whoever uses this machine. To publish the port further, set a user and a
# password instead: without either, the server does not start.
#
# The packages are those of requirements.lock in both cases: PyPI's torch for Linux is the CUDA build.
# It computes on a CPU as well, but cannot be imported without NVIDIA's libraries, so a CPU image
# carries them too.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 labelpilot \
    && install -d -o labelpilot /app /data /models

WORKDIR /app
USER 10001
ENV PIP_NO_CACHE_DIR=1

# The commands that `make test` and CI run: the packages first, which seldom change.
COPY --chown=labelpilot Makefile requirements.lock ./
RUN make install-packages
COPY --chown=labelpilot pyproject.toml README.md LICENSE ./
COPY --chown=labelpilot backends backends
COPY --chown=labelpilot micro_models micro_models
RUN make install-server

ARG DEVICE=cpu
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE \
    LABELPILOT_DATA_DIR=/data \
    LABELPILOT_MODEL_DIR=/models \
    LABELPILOT_DEVICE=$DEVICE

VOLUME ["/data", "/models"]
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9090/health', timeout=2)"]
CMD ["labelpilot", "serve", "--host", "0.0.0.0", "--port", "9090"]
