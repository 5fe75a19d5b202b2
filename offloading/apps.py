from django.apps import AppConfig


class OffloadingConfig(AppConfig):
    name = "offloading"
