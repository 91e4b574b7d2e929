# One image for every jobtide process of docker-compose.yml; the command says which. Built from this checkout.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY streams streams
COPY sinks sinks
COPY query query
COPY cli cli
COPY emitters/gateway emitters/gateway
RUN python -m venv /opt/jobtide && /opt/jobtide/bin/pip install --no-cache-dir -c constraints.txt '.[mcp]'

FROM python:3.11-slim
RUN useradd --system --create-home --uid 10001 jobtide && install -d -o jobtide -m 0700 /keys
COPY --from=build /opt/jobtide /opt/jobtide
ENV PATH=/opt/jobtide/bin:$PATH PYTHONUNBUFFERED=1
USER jobtide
WORKDIR /home/jobtide
ENTRYPOINT ["jobtide"]
CMD ["--help"]
