"""`manage.py apitoken USER`: prints the token with which a program uses the API as that person."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from rest_framework.authtoken.models import Token


class Command(BaseCommand):
    help = "Print the API token of a person, made if there is none yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the name that they log in with; staff may change things, others look")
        doing = parser.add_mutually_exclusive_group()
        doing.add_argument("--renew", action="store_true", help="make a new one: the old one is refused from then on")
        doing.add_argument("--revoke", action="store_true", help="only refuse the old one from now on")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()
        user = users.objects.filter(**{users.USERNAME_FIELD: options["user"]}).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}. `manage.py createsuperuser` makes one.")
        if not user.is_active:
            raise CommandError(f"{options['user']} may not log in any more, so a token would be refused.")
        with transaction.atomic():
            if options["renew"] or options["revoke"]:
                Token.objects.filter(user=user).delete()
            if options["revoke"]:
                self.stderr.write(f"{options['user']} has no token any more.")
                return
            token, _ = Token.objects.get_or_create(user=user)
        self.stdout.write(token.key)
