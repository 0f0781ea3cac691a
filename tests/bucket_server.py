"""What an object store answers when the keys of a bucket are listed.

Source: Amazon S3 API, ListObjectsV2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape


def listing(bucket: str, keys: Sequence[str], query: Mapping[str, str]) -> bytes:
    """Return the XML that tells the keys and folders directly below a prefix."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    objects, folders = [], {}
    for key in sorted(key for key in keys if key.startswith(prefix)):
        inner, mark, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if mark:
            folders[prefix + inner + mark] = None
        else:
            objects.append(key)
    parts = [
        f"<Contents><Key>{escape(key)}</Key><Size>7</Size><ETag>1</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key in objects
    ]
    parts += [f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders]
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult '
        f'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{bucket}</Name>'
        f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(parts)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{''.join(parts)}"
        "</ListBucketResult>"
    ).encode()
