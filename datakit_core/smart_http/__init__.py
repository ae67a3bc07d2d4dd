"""The repository over Git's smart HTTP: the way in which packs travel between machines.

``git clone``, ``git fetch`` and, with a token, ``git push`` work against it. The work is done by
``git http-backend``, a process for each request; this package decides who may ask for what.
"""

from datakit_core.smart_http.address import HttpAddress
from datakit_core.smart_http.exchange import Limits
from datakit_core.smart_http.hosts import host_name, is_for_us
from datakit_core.smart_http.server import serve_http
from datakit_core.smart_http.view import Views

__all__ = ["HttpAddress", "Limits", "Views", "host_name", "is_for_us", "serve_http"]
