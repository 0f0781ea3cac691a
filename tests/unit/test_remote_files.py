"""Files over http: whole, resumed, retried, refused; never half, never a secret told."""

import asyncio
import errno
import hashlib
import os
from contextlib import ExitStack
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parfocal.core import rate
from parfocal.core.rate import Rate
from parfocal.errors import ConfigurationError, RemoteError
from parfocal.models.source import HttpSource, parse_source
from parfocal.models.transfer import VARIABLES
from parfocal.remote import limits, stores
from parfocal.remote import site as site_module
from parfocal.remote.fetch import fetch
from parfocal.remote.limits import Limits
from parfocal.remote.partial import Partial
from parfocal.remote.retry import Retry
from parfocal.remote.site import Site
from webserver import LAST_MODIFIED, serve

DATA = bytes(range(256)) * 20_000  # 5 MB: several blocks
QUICK = Retry(attempts=4, first_wait_s=0.01, longest_wait_s=0.02, patience_s=0)
IMAGE = "/image.tif"


@pytest.fixture
def web(tmp_path):
    root = tmp_path / "site"
    root.mkdir()
    (root / "image.tif").write_bytes(DATA)
    with serve(root) as web:
        yield web


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def get(web, folder, path="image.tif"):
    return fetch(parse_source(f"{web.url}/{path}"), folder, lambda *_: None, QUICK)


def check(fetched):
    assert fetched.path.read_bytes() == DATA
    assert fetched.file.size_bytes == len(DATA)
    assert fetched.file.digest == f"sha256:{hashlib.sha256(DATA).hexdigest()}"


def test_a_file_comes_whole_with_its_etag(web, folder):
    fetched = get(web, folder)
    check(fetched)
    assert fetched.path == folder / "image.tif"
    assert fetched.file.etag == '"1"'
    assert len(web.asked(IMAGE)) == 1


def test_an_empty_file_is_a_file(web, folder):
    (web.root / "empty.tif").write_bytes(b"")
    assert get(web, folder, "empty.tif").file.size_bytes == 0


def test_odd_names_keep_their_name(web, folder):
    name = "Zelle [ü] $HOME 'q' 100%+#&?.tif"
    (web.root / name).write_bytes(DATA)
    quoted = "Zelle%20[ü]%20$HOME%20'q'%20100%25+%23&%3F.tif"
    fetched = get(web, folder, quoted)
    check(fetched)
    assert fetched.path.name == name


def test_a_query_belongs_to_the_file(web, folder):
    check(get(web, folder, "image.tif?download=1"))
    assert [path for path, _ in web.requests] == ["/image.tif"]


def test_redirects_are_followed(web, folder):
    web.redirects["/moved.tif"] = "/image.tif"
    fetched = get(web, folder, "moved.tif")
    check(fetched)
    assert fetched.path.name == "moved.tif"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_faults_are_tried_again(web, folder, status):
    web.faults["/image.tif"] = [status, status]
    check(get(web, folder))
    assert len(web.asked(IMAGE)) == 3


def test_a_dropped_connection_goes_on_where_it_broke_off(web, folder):
    web.faults["/image.tif"] = ["drop"]
    check(get(web, folder))
    first, second = web.asked(IMAGE)
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) < len(DATA)


def test_a_modification_time_serves_for_resuming_too(web, folder):
    web.validators = {"Last-Modified": LAST_MODIFIED}
    web.faults["/image.tif"] = ["drop"]
    check(get(web, folder))
    assert web.asked(IMAGE)[1] is not None


def test_without_validator_it_starts_over(web, folder):
    web.validators = {}
    web.faults["/image.tif"] = ["drop"]
    check(get(web, folder))
    assert web.asked(IMAGE) == [None, None]


def test_a_server_without_ranges_sends_all_again(web, folder):
    web.ranges = False
    web.faults["/image.tif"] = ["drop"]
    check(get(web, folder))
    assert len(web.asked(IMAGE)) >= 3


def test_a_file_that_changes_meanwhile_starts_over(web, folder, monkeypatch):
    web.faults["/image.tif"] = ["drop"]
    seen = []

    def wait_s(self, attempt):
        seen.append(attempt)
        web.validators = {"ETag": '"2"'}
        (web.root / "image.tif").write_bytes(DATA[::-1])
        return 0.0

    monkeypatch.setattr(Retry, "wait_s", wait_s)
    fetched = get(web, folder)
    assert seen
    assert fetched.path.read_bytes() == DATA[::-1]
    assert fetched.file.digest == f"sha256:{hashlib.sha256(DATA[::-1]).hexdigest()}"
    assert fetched.file.etag == '"2"'


@pytest.mark.parametrize("fault", ["short", 503])
def test_what_never_mends_is_an_error_after_the_last_attempt(web, folder, fault):
    web.faults["/image.tif"] = [fault] * 99
    with pytest.raises(RemoteError) as caught:
        get(web, folder)
    error = caught.value
    assert error.exit_code == 3
    assert f"{web.url}/image.tif" in str(error)
    assert "tried 4 times" in str(error)
    assert error.remedy
    assert len(web.asked(IMAGE)) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusals_are_final_and_say_so(web, folder, status):
    web.faults["/image.tif"] = [status] * 9
    with pytest.raises(RemoteError, match=str(status)) as caught:
        get(web, folder)
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    assert len(web.asked(IMAGE)) == 1


def test_a_web_page_is_not_an_image(web, folder):
    web.content_type = "text/html; charset=utf-8"
    with pytest.raises(RemoteError, match="web page"):
        get(web, folder)


def test_a_server_that_is_not_there_is_a_remote_error(folder):
    source = parse_source("http://127.0.0.1:9/image.tif")
    with pytest.raises(RemoteError, match=r"tried 2 times.*run again"):
        fetch(source, folder, lambda *_: None, Retry(attempts=2, first_wait_s=0.01))


def test_a_server_that_does_not_answer_is_left(web, folder, monkeypatch):
    monkeypatch.setitem(stores._OPTIONS, "read_timeout", timedelta(milliseconds=100))
    web.faults["/image.tif"] = ["stall"] * 9
    with pytest.raises(RemoteError, match="no answer in time, tried 4 times"):
        get(web, folder)


def test_a_server_that_stalls_once_is_asked_again(web, folder, monkeypatch):
    monkeypatch.setitem(stores._OPTIONS, "read_timeout", timedelta(milliseconds=200))
    web.faults["/image.tif"] = ["stall"]
    check(get(web, folder))


def test_a_file_of_unknown_size_is_refused(web, folder):
    web.faults["/image.tif"] = ["sizeless"] * 9
    with pytest.raises(RemoteError, match="does not say the size"):
        get(web, folder)
    assert len(web.asked(IMAGE)) == 1


def test_a_full_disk_is_not_blamed_on_the_server(web, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Partial, "add", full)
    with pytest.raises(OSError, match="No space"):
        get(web, folder)
    assert len(web.asked(IMAGE)) == 1


def test_waits_double_up_to_a_bound():
    waits = [Retry(6, 0.5, 4.0).wait_s(attempt) for attempt in range(1, 8)]
    for wait, longest in zip(waits, [0.5, 1, 2, 4, 4, 4, 4], strict=True):
        assert longest / 2 <= wait <= longest


def test_a_server_that_was_there_is_waited_for_longer(web, folder, monkeypatch):
    monkeypatch.setattr(Retry, "wait_s", lambda *_: 0.01)
    patient = Retry(attempts=2, patience_s=60)
    first, next_image = (Site(HttpSource(web.url), patient) for _ in range(2))
    web.faults[IMAGE] = [503] * 2

    async def work():
        with pytest.raises(RemoteError, match="tried 2 times"):
            await first.read("image.tif")
        assert await first.read("image.tif") == DATA
        web.faults[IMAGE] = [503] * 20
        assert await next_image.read("image.tif") == DATA

    asyncio.run(work())


def test_a_file_that_breaks_off_again_and_again_comes_as_long_as_it_gets_on(web, folder):
    web.faults[IMAGE] = ["drop"] * 2
    source = parse_source(f"{web.url}/image.tif")
    twice = Retry(attempts=2, first_wait_s=0.01, patience_s=0)
    check(fetch(source, folder, lambda *_: None, twice))
    web.faults[IMAGE] = ["drop"] * 99
    (folder / "image.tif").unlink()
    with pytest.raises(RemoteError, match="broke off, tried"):
        fetch(source, folder, lambda *_: None, twice)


def test_a_server_that_is_gone_for_a_while_is_taken_up_again(tmp_path, folder, monkeypatch):
    root = tmp_path / "site"
    root.mkdir()
    (root / "image.tif").write_bytes(DATA)
    waits = []
    with serve(root) as first:
        url, port = first.url, int(first.url.rsplit(":", 1)[1])
        first.faults[IMAGE] = ["drop"]

        def wait_s(self, attempt):
            waits.append(attempt)
            if len(waits) == 1:
                first.stop()
            if len(waits) == 3:
                later.append(back.enter_context(serve(root, port)))
            return 0.01

        later, back = [], ExitStack()
        monkeypatch.setattr(Retry, "wait_s", wait_s)
        with back:
            check(fetch(parse_source(f"{url}/image.tif"), folder, lambda *_: None, QUICK))
            assert later[0].asked(IMAGE)[0].startswith("bytes=")
    assert waits == [1, 2, 3]


def test_progress_is_told_in_bytes(web, folder):
    ticks = []
    fetch(parse_source(f"{web.url}/image.tif"), folder, lambda *tick: ticks.append(tick), QUICK)
    assert ticks == sorted(ticks)
    assert ticks[-1] == (len(DATA), len(DATA))
    assert len(ticks) > 2


def test_the_rate_is_told_now_and_then(web, folder, monkeypatch, caplog):
    monkeypatch.setattr(site_module, "_TELL_EVERY_S", 0.0)
    with caplog.at_level("INFO", "parfocal"):
        get(web, folder)
    assert any("MB/s" in record.getMessage() for record in caplog.records)


def test_the_bandwidth_is_limited(web, folder, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(limits.asyncio, "sleep", sleep)
    monkeypatch.setenv(VARIABLES["mb_per_s"], "0.5")
    monkeypatch.setattr(limits, "shared_rate", Rate)
    monkeypatch.setattr(rate.time, "monotonic", lambda: 100.0)
    check(get(web, folder))
    # The clock stands still, so each block waits for all before it, too.
    assert max(slept) == pytest.approx(len(DATA) / 0.5e6, rel=0.01)


def test_requests_at_once_are_limited(web, folder, monkeypatch):
    monkeypatch.setenv(VARIABLES["requests"], "3")
    assert Site(HttpSource(web.url)).in_flight == 3


@pytest.mark.parametrize("value", ["0", "many", "-1", "1e9", "nan"])
@pytest.mark.parametrize("variable", VARIABLES.values())
def test_limits_that_are_none_are_told(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        Limits.from_environment()


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=20), st.floats(1e3, 1e9))
def test_no_more_than_the_rate_comes_whatever_the_blocks(sizes, bytes_per_s):
    now = [0.0]

    async def sleep(seconds):
        now[0] += seconds

    async def work():
        limit = Limits(1, Rate(bytes_per_s))
        for size in sizes:
            await limit.take(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.asyncio, "sleep", sleep)
        patch.setattr(rate.time, "monotonic", lambda: now[0])
        asyncio.run(work())
    assert now[0] == pytest.approx(sum(sizes) / bytes_per_s)
