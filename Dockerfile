# One image for every jobtide process of docker-compose.yml; the command says which. Built from this checkout.
FROM python:3.11-slim AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY .ci/compile.py .ci/
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY streams streams
COPY sinks sinks
COPY query query
COPY cli cli
COPY emitters/gateway emitters/gateway
# The hook compiles the hot path; the second stage needs no compiler.
RUN python -m venv /opt/jobtide && HATCH_BUILD_HOOK_ENABLE_CUSTOM=true PIP_CONSTRAINT=constraints.txt /opt/jobtide/bin/pip install --no-cache-dir -c constraints.txt '.[mcp]'

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 jobtide && install -d -o jobtide -m 0700 /keys
COPY --from=build /opt/jobtide /opt/jobtide
ENV PATH=/opt/jobtide/bin:$PATH PYTHONUNBUFFERED=1
USER jobtide
WORKDIR /home/jobtide
ENTRYPOINT ["jobtide"]
CMD ["--help"]
