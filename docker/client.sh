#!/bin/sh
# Mount the database at /db and run a command there; without the right to mount, say what to use.
set -u
if datakit mount --run /db; then
    cd /db || exit 1
else
    echo "The database is not mounted. That takes 9P in the machine's kernel, and of docker run" >&2
    echo "the options --cap-add SYS_ADMIN --security-opt apparmor=unconfined." >&2
    echo "These work without: datakit branches, ls, cat, write, log, watch." >&2
fi
exec "$@"
