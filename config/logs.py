"""Log lines that show their facts: what a caller passes in `extra` is appended as key=value."""

import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class FactsFormatter(logging.Formatter):
    """A plain text formatter that appends the `extra` facts of a record, in the order they were given."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD)
        line = super().format(record)
        return f"{line} {facts}" if facts else line
