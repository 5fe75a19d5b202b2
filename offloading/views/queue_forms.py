"""The forms of the Queues screen. What is valid is said by `jobs.queues` and `jobs.pauses`; here it is only read."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from offloading.jobs import pauses, queues
from offloading.jobs.queues import QueueSettings
from offloading.models import QueueConfiguration, QueueType

_TYPES = [
    (QueueType.UNORDERED, "Unordered: several at once, oldest first"),
    (QueueType.ORDERED, "Ordered: one at a time in the whole cluster"),
    (QueueType.TOPIC_ROUND_ROBIN, "Topic round robin: several at once, topics taking turns"),
    (QueueType.IGNORE, "Ignore: keep jobs, start none"),
    (QueueType.DROP, "Drop: refuse new jobs"),
]
_ENDS = [
    ("", "Until somebody resumes it"),
    ("15", "In 15 minutes"),
    ("60", "In 1 hour"),
    ("240", "In 4 hours"),
    ("1440", "In 1 day"),
    ("at", "At the time below"),
]


class ConfigurationForm(forms.Form):
    """One queue configuration. `add_problems` puts what the job engine refuses beside the fields."""

    name = forms.CharField(
        max_length=queues.NAME_LENGTH,
        help_text="{0} stands for the part of the topic that matched: each part gets a queue of its own.",
    )
    topics = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4, "class": "mono", "spellcheck": "false"}),
        help_text="One a line: a/b that topic, a/. one level below a, a/* all below a, * everything.",
    )
    ranking = forms.IntegerField(
        initial=0, help_text="The highest is asked first. The first that takes a topic gets it, however exactly."
    )
    type = forms.ChoiceField(choices=_TYPES)
    max_parallel = forms.FloatField(
        label="Jobs at once",
        initial=15,
        help_text="On each instance. 0.5 is half of its processors, -1 all of them.",
    )
    priority = forms.ChoiceField(
        choices=QueueConfiguration.Priority.choices,
        initial=QueueConfiguration.Priority.NORM,
        help_text="Which queue is served first when all workers are busy.",
    )
    retries = forms.IntegerField(initial=10, help_text="-1 is without end.")
    retry_delay_seconds = forms.FloatField(label="Delay, seconds", initial=2)
    backoff_factor = forms.FloatField(label="Back-off factor", initial=1, help_text="2 doubles the delay each time.")
    max_retry_delay_seconds = forms.FloatField(label="Longest delay, seconds", initial=3600)
    jitter = forms.FloatField(initial=0, help_text="0.2 makes each delay up to 20 % shorter or longer.")
    retry_on_exception = forms.BooleanField(required=False, label="Retry after an exception, too")
    time_limit_seconds = forms.FloatField(
        label="Time limit, seconds", initial=0, help_text="For one attempt; 0 is none."
    )
    keep_jobs = forms.BooleanField(required=False, label="Keep succeeded jobs in the history")
    prefer_run_on_creation_instance = forms.BooleanField(required=False, label="Prefer the instance that created it")

    def __init__(self, data: Mapping[str, Any] | None = None, *, settings: QueueSettings | None = None) -> None:
        """Show `settings`; their name stays as it is, and of the main queue the topics and the ranking, too."""
        super().__init__(data, initial=_initial(settings) if settings else None, use_required_attribute=False)
        fixed = [] if settings is None else ["name", "topics", "ranking"] if settings.is_main else ["name"]
        for name in fixed:
            self.fields[name].disabled = True
        for field in self.fields.values():
            if isinstance(field, forms.FloatField):
                field.widget.attrs["step"] = "any"  # not only whole numbers

    def settings(self) -> QueueSettings:
        """Return what was typed in."""
        return QueueSettings(**{**self.cleaned_data, "topics": tuple(self.cleaned_data["topics"].split())})

    def add_problems(self, problems: Mapping[str, str]) -> None:
        for name, problem in problems.items():
            self.add_error(name if name in self.fields else None, problem)


class PauseForm(forms.Form):
    """Why something is paused and until when. `until` wins over the choices where it is given."""

    reason = forms.CharField(
        required=False, max_length=pauses.REASON_LENGTH, help_text="Everybody sees it on every page."
    )
    ends = forms.ChoiceField(choices=_ENDS, required=False, label="Goes on")
    until = forms.DateTimeField(
        required=False,
        label="At this time",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, use_required_attribute=False, **options)
        self.fields["until"].help_text = f"In the time zone {timezone.get_current_timezone_name()}."

    def clean(self) -> dict[str, Any]:
        ends, until = self.cleaned_data.get("ends"), self.cleaned_data.get("until")
        if ends == "at" and until is None and "until" not in self.errors:
            self.add_error("until", "Give the time, or choose another end above.")
        return self.cleaned_data

    def end(self) -> datetime | None:
        """Return when the pause is over by itself, or None."""
        until: datetime | None = self.cleaned_data["until"]
        ends = self.cleaned_data["ends"]
        return until or (timezone.now() + timedelta(minutes=int(ends)) if ends.isdigit() else None)

    def add_problems(self, problems: Mapping[str, str]) -> None:
        for name, problem in problems.items():
            self.add_error(name if name in self.fields else None, problem)


class TopicPauseForm(PauseForm):
    """The same for a topic, which has to be named."""

    name = forms.CharField(
        label="Topic", max_length=255, help_text="That topic, or a/** for all below a.", widget=forms.TextInput()
    )
    field_order = ("name", "reason", "ends", "until")


def _initial(settings: QueueSettings) -> dict[str, Any]:
    values = {name: f"{value:g}" if isinstance(value, float) else value for name, value in asdict(settings).items()}
    return {**values, "topics": "\n".join(settings.topics)}
