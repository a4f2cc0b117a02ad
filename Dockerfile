# The router in a container: compiled in the first stage, alone with glibc in the second.
# BUILD_BASE needs a POSIX shell and bun or npm; RUN_BASE needs glibc and nothing else, not even a shell.
ARG BUILD_BASE=oven/bun:1-slim
ARG RUN_BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /router
# Packages first: they change less often than the sources and stay in the layer cache.
COPY package.json bun.lock bunfig.toml ./
COPY .ci/setup .ci/setup
RUN sh .ci/setup
COPY tsconfig.json ./
COPY .ci/build.ts .ci/source-maps.ts .ci/
COPY src src
RUN node_modules/.bin/bun --no-env-file run build && mkdir /data

FROM ${RUN_BASE}
COPY --from=build /router/dist/router /usr/local/bin/router
# A new named volume takes over the owner of the directory it covers.
COPY --from=build --chown=65532:65532 /data /data
ENV HOST=0.0.0.0 \
    DATA_DIR=/data \
    LOG_DIR=/data/logs \
    ROUTER_GENERATE_KEY=1
WORKDIR /data
VOLUME /data
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/router", "health"]
ENTRYPOINT ["/usr/local/bin/router"]
