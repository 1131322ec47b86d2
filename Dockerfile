# syntax=docker/dockerfile:1
# Targets: cpu (default), cuda, fetch-model.
#   docker build -t spade:cpu .
#   docker build -t spade:cuda --target cuda .
#   docker build -t spade:fetch-model --target fetch-model .
# Where no Docker runs, deploy/docker/check-build carries the steps of a target out in a chroot.

FROM debian:bookworm-slim AS sources
WORKDIR /src
COPY tools/setup tools/setup
RUN tools/setup && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY kernels kernels
COPY engine engine
COPY proto proto
COPY server server
COPY loadtest loadtest
COPY tools tools

FROM sources AS build-cpu
RUN cmake --preset release -DSPADE_TESTS=OFF -DSPADE_BENCH=OFF \
 && cmake --build build --target spade-server spade-client spade-loadtest \
 && cmake --install build --strip --prefix /opt/spade

FROM sources AS build-cuda
COPY deploy/docker/cuda-repository deploy/docker/cuda-repository
RUN deploy/docker/cuda-repository cuda-nvcc-13-0 cuda-cudart-dev-13-0 libcublas-dev-13-0 libnccl-dev
ENV PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN cmake --preset release -DSPADE_TESTS=OFF -DSPADE_BENCH=OFF -DSPADE_CUDA=ON -DSPADE_NCCL=ON \
 && cmake --build build --target spade-server spade-client spade-loadtest \
 && cmake --install build --strip --prefix /opt/spade

FROM debian:bookworm-slim AS runtime
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libabsl20220623 libfmt9 libgrpc++1.51 libhwy1 libpcre2-8-0 libprometheus-cpp-core1.0 \
      libprometheus-cpp-pull1.0 libprotobuf32 libspdlog1.10 libssl3 libutf8proc2 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin spade
COPY models/tickets-7m /usr/share/spade/models/tickets-7m
ENV SPADE_MODEL=/usr/share/spade/models/tickets-7m
EXPOSE 50051 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --start-interval=2s \
  CMD ["/opt/spade/bin/spade-client", "--deadline", "3", "health"]
ENTRYPOINT ["/opt/spade/bin/spade-server"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="spade-server" \
      org.opencontainers.image.description="LLM inference over gRPC that answers early when it can prove that it may" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM runtime AS cuda
COPY deploy/docker/cuda-repository /tmp/cuda-repository
RUN /tmp/cuda-repository cuda-cudart-13-0 libcublas-13-0 libnccl2 && rm /tmp/cuda-repository
COPY --from=build-cuda /opt/spade /opt/spade
ENV SPADE_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001

FROM python:3.12-slim-bookworm AS fetch-model
COPY tools/fetch-model /usr/local/bin/fetch-model
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/fetch-model"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/spade /opt/spade
USER 10001:10001
