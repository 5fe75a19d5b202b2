"""The nouns of `manage.py jobs`, one module each.

A module has `add(parsers)`, which adds a parser for each of its sub-commands and says with `set_defaults(run=...)`
which function of (options, out) does it. A new module is to be named in commands/jobs.py.
"""
