"""What a browser sent as files, one result for each. Knows HTTP; what becomes of a file is ingestion's.

A file's name comes in a field of its own, `name`, because parsers quietly cut a path off the file name of a part: only
so a name such as "../x.jpg" is seen, and refused, instead of being taken for something else.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.urls import reverse

from content import paths
from dam import ingestion

# What a multipart body holds besides the bytes of its file: names, the token, separators.
_FORM_BYTES = 64 * 1024


@dataclass(frozen=True)
class Result:
    """What became of one file. `path` is set if it is an asset now; `is_replaceable` if one of its name was there."""

    name: str
    status: int
    error: str = ""
    path: str = ""
    is_replaceable: bool = False

    @property
    def is_taken(self) -> bool:
        return not self.error

    def as_json(self) -> dict[str, Any]:
        if self.is_taken:
            return {"name": self.name, "path": self.path, "url": reverse("dam:asset", args=[self.path])}
        return {"name": self.name, "error": self.error, "is_replaceable": self.is_replaceable}


def is_too_large(request: HttpRequest) -> bool:
    """Say whether the whole body is larger than one file may be. Several files at once have to share that room."""
    length = request.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) > settings.OFFLOADING_UPLOAD_BYTES + _FORM_BYTES


def too_large() -> Result:
    limit = settings.OFFLOADING_UPLOAD_BYTES
    return Result("", 413, f"That is more than {limit:,} bytes, the most that is taken at once here. Send less.")


def receive(request: HttpRequest, folder: str) -> list[Result]:
    """Take every file of the form into `folder`, the good ones whatever is wrong with the others."""
    files = request.FILES.getlist("file")
    names = request.POST.getlist("name")
    is_replacing = request.POST.get("replace") == "1"
    by = request.user.get_username()
    return [
        _take(file, names[index] if index < len(names) else file.name or "", folder, by, is_replacing)
        for index, file in enumerate(files)
    ]


def _take(file: "UploadedFile[bytes]", name: str, folder: str, by: str, is_replacing: bool) -> Result:
    try:
        path = ingestion.put_asset(folder=folder, name=name, stream=file, by=by, is_replacing=is_replacing)
    except ingestion.AssetExists as error:
        return Result(name, 409, str(error), is_replaceable=error.is_replaceable)
    except ingestion.UploadTooLarge as error:
        return Result(name, 413, str(error))
    except (ingestion.UploadRefused, paths.PathInvalid) as error:
        return Result(name, 422, str(error))
    except ingestion.AssetMissing as error:
        return Result(name, 404, str(error))
    return Result(name, 201, path=path)
