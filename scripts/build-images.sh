#!/bin/sh
# Build every image, each after those it comes from. Needs Docker.
#
# BASE=IMAGE     begin with another Debian with Python 3.11 or later
# IMAGES="db ci" build only these
# VERSION=1.2    what the images' labels say; the version of the package if not given
# FLAGS=...      passed on to each "docker build"
set -eu
cd "$(dirname "$0")/.."
. scripts/docker.sh
version=${VERSION:-$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' datakit_core/__init__.py)}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

for image in ${IMAGES:-db ci client bridge-github bridge-local-git self-ci}; do
    case $image in
    db | ci) file=Dockerfile.$image ;;
    *) file=docker/Dockerfile.$image ;;
    esac
    [ -f "$file" ] || { echo "there is no image \"$image\"" >&2; exit 2; }
    echo "datakit/$image:"
    from=
    case $image in db | ci) from=${BASE:+--build-arg BASE=$BASE} ;; esac
    # shellcheck disable=SC2086 # both are lists of words, and may be none
    docker build --quiet --file "$file" --tag "datakit/$image" ${FLAGS:-} $from \
        --label "org.opencontainers.image.version=$version" \
        --label "org.opencontainers.image.revision=$revision" .
done
