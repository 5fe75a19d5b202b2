"""The HTTP API at /api/v1/: what the screens and `manage.py jobs` do, for programs of any language.

Each operation reads its body, calls one service of `offloading.jobs` and answers in JSON. `bodies` says what a body may
be, `problems` what a refusal looks like, `access` who may do what, `schema` what stands in the OpenAPI document besides
the operations themselves; the other modules have one noun each.
"""
