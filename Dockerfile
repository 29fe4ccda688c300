# adjax in a container, from a clone:
#
#   docker build -t adjax .
#   docker run --gpus=all -v "$PWD/runs:/runs" adjax \
#     run --experiment=quick --workdir=/runs/quick
#
# --build-arg JAX=jax[tpu] is for a TPU, JAX=jax for a CPU alone. Who runs in it
# is user 1000, who must be able to write what is mounted.
#
# Not built by CI, where there is no base image to be had: only its lines are
# checked.
FROM python:3.12-slim AS build
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY adjax adjax
RUN pip wheel --no-cache-dir --no-deps --wheel-dir=/dist .

FROM python:3.12-slim
ARG JAX=jax[cuda13]
COPY --from=build /dist /dist
RUN pip install --no-cache-dir "$JAX" /dist/*.whl
RUN useradd --create-home --uid=1000 adjax
USER adjax
WORKDIR /home/adjax
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["adjax"]
