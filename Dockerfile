# Two images of one checkout.
#
#   docker build --target api .          the front door: no torch, no networks, no worker
#   docker build --target worker .       the networks; --build-arg TORCH_BACKEND=cu130 for NVIDIA GPUs (any name uv knows)

FROM python:3.13-slim-trixie AS base
ENV PATH=/opt/darkroom/bin:$PATH \
    PYTHONPATH=/srv/darkroom \
    PYTHONUNBUFFERED=1 \
    DARKROOM_DATA_DIR=/data
RUN groupadd --system --gid 10001 darkroom \
    && useradd --system --uid 10001 --gid 10001 --no-create-home darkroom \
    && install --directory --owner=darkroom --group=darkroom --mode=0700 /data
WORKDIR /srv/darkroom
VOLUME /data
STOPSIGNAL SIGTERM


FROM base AS api-packages
COPY requirements/api.lock requirements/
RUN python -m venv /opt/darkroom \
    && pip install --no-cache-dir --require-hashes --requirement requirements/api.lock


FROM base AS worker-packages
ARG TORCH_BACKEND=cpu
COPY requirements/runtime.lock requirements/uv.lock requirements/torch.in requirements/
# uv stays outside: it only knows where torch's builds are.
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes --requirement requirements/uv.lock \
    && python -m venv /opt/darkroom \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements/runtime.lock \
    && /opt/uv/bin/uv pip install --no-cache --python /opt/darkroom/bin/python \
        --torch-backend="$TORCH_BACKEND" --requirement requirements/torch.in


FROM base AS worker
COPY --from=worker-packages /opt/darkroom /opt/darkroom
COPY LICENSE NOTICE ./
COPY app/__init__.py app/
COPY app/jobs app/jobs
COPY models models
COPY worker worker
# What a library wants to keep for itself goes where a read-only container lets it.
ENV HOME=/tmp
USER 10001:10001
# A worker is well while its beat is in the database.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["python", "-c", "\
import socket; \
from app.jobs.settings import load_settings; \
from app.jobs.store import open_store; \
names = [worker.name for worker in open_store(load_settings()).workers_alive()]; \
raise SystemExit(not any(name.startswith(f'{socket.gethostname()}-') for name in names))"]
CMD ["python", "-m", "worker"]


FROM base AS api
COPY --from=api-packages /opt/darkroom /opt/darkroom
COPY LICENSE NOTICE ./
COPY app app
ENV DARKROOM_HOST=0.0.0.0
USER 10001:10001
EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "\
import os; \
from urllib.request import urlopen; \
port = os.environ.get('DARKROOM_PORT') or 7860; \
urlopen(f'http://127.0.0.1:{port}/healthz', timeout=4)"]
# Others can call it, so it makes a key at its first start, prints it once and keeps it in its volume.
CMD ["python", "-m", "app.cli", "api", "--first-key", "/data/first-key"]
