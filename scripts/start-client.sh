#!/bin/sh
# A shell with the database mounted at /db, or one command: scripts/start-client.sh [COMMAND...]
#
# It looks into the container that scripts/start-datakit.sh has started (NAME), or at DATAKIT_URL.
# The images are built if they are not there; FLAGS are added to "docker run".
set -eu
cd "$(dirname "$0")/.."
. scripts/docker.sh
name=${NAME:-datakit-db}

if [ -z "${DATAKIT_URL:-}" ]; then
    [ "$(docker container inspect --format '{{.State.Running}}' "$name" 2>/dev/null)" = true ] || {
        echo "There is no database in a container \"$name\": start one with scripts/start-datakit.sh," >&2
        echo "or say in DATAKIT_URL where one is." >&2
        exit 1
    }
    DATAKIT_URL=tcp://127.0.0.1:5640
fi
for image in db client; do
    docker image inspect datakit/$image >/dev/null 2>&1 || IMAGES=$image FLAGS= scripts/build-images.sh
done
network=container:$name
docker container inspect "$name" >/dev/null 2>&1 || network=host
terminal=
[ -t 0 ] && terminal=--tty
# Mounting is root's: the container gets the right to it, and nothing else of the machine.
# shellcheck disable=SC2086 # lists of words
exec docker run --rm --interactive $terminal --network "$network" \
    --cap-add SYS_ADMIN --security-opt apparmor=unconfined \
    --env DATAKIT_URL="$DATAKIT_URL" ${FLAGS:-} datakit/client "$@"
