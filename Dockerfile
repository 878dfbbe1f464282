FROM node:22-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
COPY scripts/bun.mjs scripts/
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build
# /data belongs to the user the server runs as; a new volume takes that over.
RUN install -d -m 0750 /out/data && cp dist/tally /out/tally

FROM debian:bookworm-slim
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/tally /usr/local/bin/tally
USER 65532:65532
WORKDIR /data
VOLUME /data
ENV TALLY_HOST=0.0.0.0 TALLY_DATA=/data
# HTTP and gRPC. On an address that others reach, the server wants API keys or --open (TALLY_OPEN=true) to start.
EXPOSE 8080 50051
# bash can open the socket itself; the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["bash", "-c", "\
  exec 3<>/dev/tcp/127.0.0.1/${TALLY_PORT:-8080} && \
  printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && \
  read -r -t 2 _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["tally"]
CMD ["serve"]
