"""The form of a scheduled job: what it does, and one schedule with the fields of its type.

All fields are in the page; which of them belong to the chosen type is shown by the style sheet, and read here.
"""

import json
import zoneinfo
from datetime import datetime, time
from typing import Any

from django import forms
from django.conf import settings

from offloading import exceptions
from offloading.jobs import properties, schedules, topics
from offloading.jobs.schedules import Schedule, Type
from offloading.models import ScheduledJob

# The fields of the form that make up a schedule of each type.
FIELDS: dict[Type, tuple[str, ...]] = {
    Type.HOURLY: ("minute",),
    Type.DAILY: ("clock",),
    Type.WEEKLY: ("weekday", "clock"),
    Type.MONTHLY: ("day", "clock"),
    Type.YEARLY: ("month", "day", "clock"),
    Type.DATE: ("at",),
    Type.CRON: ("expression",),
}
TYPES = [
    (Type.HOURLY, "Hourly"),
    (Type.DAILY, "Daily"),
    (Type.WEEKLY, "Weekly"),
    (Type.MONTHLY, "Monthly"),
    (Type.YEARLY, "Yearly"),
    (Type.DATE, "Once"),
    (Type.CRON, "Cron"),
]
_LOCAL = "%Y-%m-%dT%H:%M"


class TimesForm(forms.Form):
    """When it runs. `schedule` is what it says, once it is valid."""

    type = forms.ChoiceField(choices=TYPES, widget=forms.RadioSelect, initial=Type.DAILY)
    minute = forms.IntegerField(min_value=0, max_value=59, required=False, help_text="0 to 59, of every hour")
    weekday = forms.TypedChoiceField(
        label="Day", coerce=int, choices=list(enumerate(schedules.WEEKDAYS, start=1)), required=False, initial=2
    )
    month = forms.TypedChoiceField(
        coerce=int, choices=list(enumerate(schedules.MONTHS, start=1)), required=False, initial=1
    )
    day = forms.IntegerField(
        label="Day of the month", min_value=1, max_value=28, required=False, help_text="1 to 28: every month has them"
    )
    clock = forms.TimeField(
        label="Time", required=False, widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    )
    at = forms.DateTimeField(
        label="Date and time",
        required=False,
        input_formats=[_LOCAL, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_LOCAL),
    )
    expression = forms.CharField(
        label="Cron expression",
        required=False,
        max_length=200,
        help_text="minute hour day month weekday, as in 30 8 * * MON-FRI; Quartz's form with seconds and ? works too",
    )
    time_zone = forms.CharField(label="Time zone", max_length=64)

    schedule: Schedule

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["time_zone"].initial = settings.TIME_ZONE
        self.fields["time_zone"].widget.attrs["list"] = "time-zones"
        self.fields["expression"].widget.attrs.update({"spellcheck": "false", "autocapitalize": "off"})

    def times(self) -> list[tuple[str, forms.BoundField]]:
        """Return the fields that depend on the type, each with the types that it belongs to."""
        names = dict.fromkeys(name for fields in FIELDS.values() for name in fields)
        order = sorted(names, key=list(self.fields).index)
        return [(" ".join(kind for kind, fields in FIELDS.items() if name in fields), self[name]) for name in order]

    @staticmethod
    def time_zones() -> list[str]:
        """Return the names that the field for the time zone offers."""
        return sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})

    def clean_time_zone(self) -> str:
        try:
            return schedules.zone_of(self.cleaned_data["time_zone"]).key
        except exceptions.ScheduleInvalid as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        kept: dict[str, Any] = self.cleaned_data
        kind = kept.get("type")
        if not kind:
            return kept
        names = FIELDS[Type(kind)]
        # What stands in the fields of other types does not count.
        for name in [name for name in self.errors if name not in names and name in self._conditional()]:
            del self.errors[name]
        missing = [name for name in names if name not in self.errors and kept.get(name) in (None, "")]
        for name in missing:
            self.add_error(name, "Needed for this kind of schedule.")
        if self.errors:
            return kept
        try:
            self.schedule = _schedule(Type(kind), kept)
        except exceptions.ScheduleInvalid as error:
            self.add_error(names[-1], str(error))
        return kept

    @staticmethod
    def _conditional() -> set[str]:
        return {name for fields in FIELDS.values() for name in fields}


class ScheduleForm(TimesForm):
    """A whole scheduled job."""

    topic = forms.CharField(max_length=255, help_text="names joined by slashes, as in acme/mail/send")
    title = forms.CharField(max_length=255, required=False, help_text="optional: what people see instead of the topic")
    properties = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text='optional: a JSON object, as in {"folder": "/content/dam"}',
    )
    misfire = forms.ChoiceField(
        label="If runs were missed",
        choices=ScheduledJob.Misfire.choices,
        initial=ScheduledJob.Misfire.ONCE,
        required=False,
    )
    suspended = forms.BooleanField(label="Begin suspended", required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["topic"].widget.attrs.update({"list": "topics", "spellcheck": "false", "autocapitalize": "off"})

    def clean_topic(self) -> str:
        try:
            return topics.validate(self.cleaned_data["topic"])
        except exceptions.TopicInvalid as error:
            raise forms.ValidationError(str(error)) from error

    def clean_properties(self) -> dict[str, Any]:
        text = self.cleaned_data["properties"].strip()
        try:
            found = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise forms.ValidationError('Give an object, as in {"folder": "/content/dam"}.')
        try:
            return properties.checked(found)
        except exceptions.PropertiesInvalid as error:
            raise forms.ValidationError(str(error)) from error


def initial(row: ScheduledJob) -> dict[str, Any]:
    """Return what the fields for the times hold at first for a scheduled job: its first schedule."""
    first = schedules.all_from_json(row.schedules)[0]
    found: dict[str, Any] = {
        "type": first.type,
        "time_zone": row.time_zone,
        "minute": first.minute if first.type == Type.HOURLY else None,
        "month": first.month,
        "expression": first.expression,
        "weekday" if first.type == Type.WEEKLY else "day": first.day,
    }
    if first.hour is not None and first.minute is not None:
        found["clock"] = time(first.hour, first.minute)
    if first.at is not None:
        found["at"] = first.at.astimezone(schedules.zone_of(row.time_zone)).replace(tzinfo=None)
    return {name: value for name, value in found.items() if value is not None}


def _schedule(kind: Type, kept: dict[str, Any]) -> Schedule:
    """Make the schedule out of the fields of its type."""
    clock: time | None = kept.get("clock")
    hour, minute = (clock.hour, clock.minute) if clock else (0, 0)
    match kind:
        case Type.HOURLY:
            return schedules.hourly(kept["minute"])
        case Type.DAILY:
            return schedules.daily(hour, minute)
        case Type.WEEKLY:
            return schedules.weekly(kept["weekday"], hour, minute)
        case Type.MONTHLY:
            return schedules.monthly(kept["day"], hour, minute)
        case Type.YEARLY:
            return schedules.yearly(kept["month"], kept["day"], hour, minute)
        case Type.DATE:
            when: datetime = kept["at"]
            return schedules.at(when.replace(tzinfo=schedules.zone_of(kept["time_zone"])))
        case Type.CRON:
            return schedules.by_cron(kept["expression"])
