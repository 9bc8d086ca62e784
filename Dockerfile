# One image for every role: `docker build -t taskloom:0.1.0 .`
# It runs as any user, with a read-only root: only /var/lib/taskloom and /tmp are written to.
# For a build that is the same tomorrow, pin the base as well:
#   --build-arg PYTHON=python:3.11-slim-bookworm@sha256:... --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ARG SOURCE_DATE_EPOCH=1767225600
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PIP_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/taskloom
# What changes seldom comes first.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN mkdir -p operator/taskloom migrations \
 && touch operator/taskloom/__init__.py \
 && /opt/taskloom/bin/pip install '.[kubernetes,nats,sqs]' \
 && /opt/taskloom/bin/pip uninstall --yes taskloom
COPY migrations migrations
COPY operator operator
RUN /opt/taskloom/bin/pip install --no-deps . \
 && /opt/taskloom/bin/pip uninstall --yes pip setuptools \
 && find /opt/taskloom -name __pycache__ -prune -exec rm -rf {} + \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/taskloom/lib \
 && install -d -m 0775 /data \
 && find /opt/taskloom /data -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM ${PYTHON}
LABEL org.opencontainers.image.title=taskloom \
      org.opencontainers.image.description="Weaves events into tasks with BPMN workflows and signed webhooks" \
      org.opencontainers.image.licenses=MIT
# By it the embedded PostgreSQL runs as a user id that has no name.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libnss-wrapper \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig
COPY --from=build /opt/taskloom /opt/taskloom
# Group 0, so that a user id chosen by the cluster may write there.
COPY --from=build --chown=10001:0 /data /var/lib/taskloom
ENV PATH=/opt/taskloom/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TASKLOOM_DATA_DIR=/var/lib/taskloom \
    TASKLOOM_HOST=0.0.0.0 \
    TASKLOOM_LOG_FORMAT=json
USER 10001:0
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["taskloom"]
CMD ["serve"]
