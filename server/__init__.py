"""The model server and the command line: graphs from a folder, over HTTP.

Read in the order in which a request passes: app (routes on one screen), openai_routes, payload, servables, backend,
local_backend, replies. Everything that may be set is in settings; every error that a client may see is in errors.
"""

from graph_runtime.shadows import check_ours

check_ours("calculators")  # else an import in one of our files would fail, and nobody would know why
