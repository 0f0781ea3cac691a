"""The BioImage Archive with one study, as its interface answers: for tests that replay it."""

import json
from functools import partial

from bucket_server import listing

ACCESSION = "S-BIAD634"
FILES = "pub/S-BIAD/634/S-BIAD634/Files"


def entry(path, size=0, kind="file", **attributes):
    """Return what the archive tells of a file of the study."""
    name = path.rsplit("/", 1)[-1]
    own = {"path": path, "Name": name, "Size": size, "type": kind, "file_owner": ACCESSION}
    return own | attributes


def replay(web, entries):
    """Let a server answer below ``/api`` for the study, whose files lie below `FILES`.

    Its ``entries`` are the list of files, and its ``keys`` those of the bucket of OME-Zarrs.
    """
    web.entries, web.keys = entries, []
    web.answer = partial(_answer, web)


def _answer(web, path, query):
    asked = dict(query)
    if path == f"/api/api/v1/studies/{ACCESSION}/info":
        link = f"{web.url}/{FILES.removesuffix('/Files')}"
        return json.dumps({"files": len(web.entries), "httpLink": link}).encode()
    if path.startswith("/api/") and path.endswith("/info"):
        return b"{}"
    if path == f"/api/api/v1/files/{ACCESSION}":
        start, length = int(asked["start"]), int(asked["length"])
        data = web.entries[start : start + length]
        return json.dumps({"recordsTotal": len(web.entries), "data": data}).encode()
    if path.rstrip("/") == "/bia-integrator-data":
        return listing("bia-integrator-data", web.keys, asked)
    return None
