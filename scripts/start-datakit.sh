#!/bin/sh
# Start the database in a container, in one go: scripts/start-datakit.sh [OPTION...]
#
# Options are those of "datakit serve". The image is built if it is not there; the data are in the
# volume "datakit-db-data" and stay when the container goes. NAME, PORT and FLAGS (of "docker run")
# change the rest. Stop it with: docker stop datakit-db
set -eu
cd "$(dirname "$0")/.."
. scripts/docker.sh
name=${NAME:-datakit-db}
port=${PORT:-5640}

if [ "$(docker container inspect --format '{{.State.Running}}' "$name" 2>/dev/null)" = true ]; then
    echo "$name runs already; stop it first: docker stop $name" >&2
    exit 1
fi
docker image inspect datakit/db >/dev/null 2>&1 || IMAGES=db FLAGS= scripts/build-images.sh
docker container rm "$name" >/dev/null 2>&1 || true
# shellcheck disable=SC2086 # a list of words
docker run --detach --name "$name" --volume "$name-data:/data" ${FLAGS:---publish 127.0.0.1:$port:5640} \
    datakit/db "$@" >/dev/null

tries=0
until docker exec "$name" datakit branches >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -ge 30 ] || [ "$(docker container inspect --format '{{.State.Running}}' "$name")" != true ]; then
        echo "The database has not started:" >&2
        docker logs "$name" 2>&1 | tail -n 20 >&2
        exit 1
    fi
    sleep 1
done
echo "The database is at tcp://127.0.0.1:$port; look into it with: scripts/start-client.sh"
