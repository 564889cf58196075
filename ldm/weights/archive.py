"""The zip archives that torch.save writes: where in the file each record lies, without unpacking anything."""

import io
import zipfile
from pathlib import Path

DIRECTORY_BYTES = 4 << 20  # the longest list of records: 40,000 tensors, and few enough that it is read in a second
_LOCAL_HEADER = 30  # bytes before the name of a record


class BadArchive(ValueError):
    """The archive is damaged, or holds what torch.save never writes."""


class _Frugal(io.BufferedReader):
    """A file whose list of records is not read if it is too long."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > DIRECTORY_BYTES:
            raise BadArchive("its list of records is too long")
        return super().read(size)


def records(path: str | Path) -> dict[str, tuple[int, int]]:
    """Return name -> (start, number of bytes) of the records in the archive. torch.save stores records as they are:
    raises BadArchive for compressed or encrypted ones, for two of one name, and for a damaged archive."""
    try:
        with _Frugal(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            size = file.seek(0, io.SEEK_END)
            return dict(_place(file, record, size) for record in _without_doubles(archive))
    except (BadArchive, MemoryError):
        raise
    except Exception as error:  # zipfile raises many types for damaged archives
        raise BadArchive(f"its zip archive cannot be read: {error}") from error


def _without_doubles(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    if len(archive.NameToInfo) < len(archive.infolist()):
        raise BadArchive("two of its records have the same name")
    return archive.infolist()


def _place(file: io.BufferedReader, record: zipfile.ZipInfo, size: int) -> tuple[str, tuple[int, int]]:
    if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1 or record.compress_size != record.file_size:
        raise BadArchive(f"its record {record.filename!r} is compressed or encrypted, which torch.save never does")
    file.seek(record.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
        raise BadArchive(f"its record {record.filename!r} is missing")
    name, extra = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    start = record.header_offset + _LOCAL_HEADER + name + extra
    if start + record.file_size > size:
        raise BadArchive(f"its record {record.filename!r} is cut off")
    return record.filename, (start, record.file_size)
