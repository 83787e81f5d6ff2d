# One image for every part of a fleet: `crewmem serve`, `crewmem consume`, `crewmem topics create`.
# CPU builds of torch are not on the default package index everywhere; name the index that has them:
#   docker build --build-arg TORCH_INDEX_URL=<PyTorch's CPU index> .
FROM python:3.11-slim AS build
ARG TORCH_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/crewmem
WORKDIR /src
COPY constraints.txt ./
RUN /opt/crewmem/bin/pip install -q ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' constraints.txt)"
# What changes seldom first: the dependencies make the large layer, crewmem itself a small one.
COPY pyproject.toml README.md ./
COPY scripts/requirements.py scripts/
RUN /opt/crewmem/bin/python scripts/requirements.py consumer recall >/tmp/requirements.txt \
 && /opt/crewmem/bin/pip install -q -c constraints.txt -r /tmp/requirements.txt
COPY producers producers
COPY consumers consumers
COPY store store
COPY crews crews
RUN /opt/crewmem/bin/pip install -q --no-deps --target /opt/crewmem-code .

FROM python:3.11-slim
# Any user of group 0 can write there, so that a platform may choose the user id.
RUN useradd --system --uid 10001 --gid 0 --create-home crewmem \
 && install -d -o crewmem -g root -m 2770 /data /keys/master /keys/service /backup
COPY --from=build /opt/crewmem /opt/crewmem
COPY --from=build /opt/crewmem-code /opt/crewmem-code
ENV PATH=/opt/crewmem-code/bin:/opt/crewmem/bin:$PATH PYTHONPATH=/opt/crewmem-code PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 HOME=/data CREWMEM_HOME=/data CREWMEM_HOST=0.0.0.0 \
    CREWMEM_CONSUMER_HOST=0.0.0.0
USER 10001:0
VOLUME /data
EXPOSE 8765 8766
ENTRYPOINT ["crewmem"]
CMD ["serve"]
