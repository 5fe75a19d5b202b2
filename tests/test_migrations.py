"""One clean set of migrations per app, none missing, none named by a machine."""

import io
import re
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.django_db
def test_no_migration_is_missing():
    output = io.StringIO()
    try:
        call_command("makemigrations", "--check", "--dry-run", stdout=output)
    except SystemExit:
        pytest.fail(f"models and migrations differ:\n{output.getvalue()}")


def test_no_migration_is_named_by_a_machine():
    names = [path.name for path in ROOT.glob("*/migrations/[0-9]*.py")] + [
        path.name for path in ROOT.glob("*/*/migrations/[0-9]*.py")
    ]
    assert names
    assert [name for name in names if re.search(r"_auto_|_\d{8}_\d{4}", name)] == []
