# For other scripts, to be sourced: end with a clear word unless Docker is there and answers.
command -v docker >/dev/null 2>&1 || {
    echo "There is no Docker here: install it (Debian: sudo apt-get install docker.io)." >&2
    exit 1
}
docker info >/dev/null 2>&1 || {
    echo "Docker does not answer: is it running, and may you use it (group \"docker\")?" >&2
    echo "  $(docker info 2>&1 | tail -n 1)" >&2
    exit 1
}
