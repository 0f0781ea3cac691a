"""Data that lie apart become one results folder, by their records."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import tifffile

from collected import Jobs
from crate_records import artifact as artifact_of
from crate_records import chain, segment
from galaxy_object_samples import discs
from parfocal.cli.main import main
from parfocal.core.digest import digest_path
from parfocal.engine.collected_records import RunLayout
from parfocal.engine.collecting import collect_results
from parfocal.errors import InputError
from parfocal.models.naming import image_id_of
from parfocal.models.record import Record
from parfocal.models.sheet import Row, read_sheet, write_sheet
from parfocal.provenance.crate_signature import unlisted
from parfocal.provenance.read_crate import read_crate
from parfocal.provenance.records import iter_records
from parfocal.steps import STEPS
from rocrate_cache import findings, seed_cache
from verified_runs import flip
from webserver import serve


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """Two images with the same pixels, analysed in jobs of their own."""
    jobs = Jobs(tmp_path_factory.mktemp("jobs") / "files")
    for image_id in ("a", "b"):
        jobs.data.append(jobs.upload())
        jobs.analyse(image_id, jobs.data[-1])
    return jobs


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "files")


def of(records: list[Record], step: str, image_id: str) -> list[Record]:
    return [r for r in records if (r.step, r.image_id) == (step, image_id)]


def uris(record: Record) -> dict[str, str]:
    return {artifact.role: artifact.uri for artifact in record.inputs + record.outputs}


def collected(paths: list[Path], folder: Path) -> list[Record]:
    collect_results(paths, folder, STEPS)
    return list(iter_records(folder))


def test_data_lie_where_the_steps_would_have_written_them(shared: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    rows = collect_results(shared.data + shared.records, folder, STEPS)
    assert [row.image_id for row in rows] == ["a", "b"]
    records = list(iter_records(folder))
    assert len(records) == len(shared.records) == 8
    for record in records:
        for artifact in (*record.inputs, *record.outputs):
            assert artifact.uri.startswith(f"images/{record.image_id}/")
            assert digest_path(folder / artifact.uri) == artifact.digest
        for artifact in record.outputs:
            assert (folder / artifact.uri).is_symlink()
    (measured,) = of(records, "measure-objects", "b")
    assert uris(measured) == {
        "image": "images/b/image.ome.zarr",
        "labels": "images/b/labels/nuclei.ome.zarr",
        "table": "images/b/tables/nuclei.parquet",
        "tsv": "images/b/tables/nuclei.tsv",
    }
    assert not (folder / "outcomes").exists()


def test_a_record_tells_which_file_it_was(shared: Jobs, tmp_path: Path) -> None:
    given = {digest_path(path): path for path in shared.records}
    for record in collected(shared.records, tmp_path / "results"):
        assert record.written_as is not None
        path = given.pop(record.written_as.digest)
        assert record.written_as.size_bytes == path.stat().st_size
        written = json.loads(path.read_text())
        laid_out = json.loads(record.model_dump_json())
        changed = {key for key in written if written[key] != laid_out[key]}
        assert changed <= {"inputs", "outputs", "written_as", "digest_lists"}
        for digest, lines in written["digest_lists"].items():
            place = tmp_path / "results" / "digests" / f"{digest.replace(':', '-')}.txt"
            assert place.read_text() == lines
        for old, new in zip(written["outputs"], laid_out["outputs"], strict=True):
            assert old | {"uri": ""} == new | {"uri": ""}
            assert old["uri"] != new["uri"]
    assert not given


def test_records_alone_will_do(shared: Jobs, tmp_path: Path) -> None:
    records = collected(shared.records, tmp_path / "results")
    (segmented,) = of(records, "segment-objects", "a")
    assert uris(segmented)["image"] == "images/a/filtered.ome.zarr"
    (filtered,) = of(records, "filter-image", "a")
    assert Path(uris(filtered)["image"]).is_absolute()


def test_an_image_that_each_job_calls_otherwise_is_one(jobs: Jobs, tmp_path: Path) -> None:
    image = jobs.upload()
    filtered = jobs.run("filter-image", "cells", image=image)["filtered"]
    jobs.run("segment-objects", "cells_filtered-1234abcd", image=filtered)
    records = collected(jobs.data + jobs.records, tmp_path / "results")
    assert {record.image_id for record in records} == {"cells"}
    (segmented,) = of(records, "segment-objects", "cells")
    assert uris(segmented) == {
        "image": "images/cells/filtered.ome.zarr",
        "labels": "images/cells/labels/nuclei.ome.zarr",
    }


def test_what_was_fetched_is_the_image_of_its_row() -> None:
    source = "https://example.org/b.tif"
    written = [
        record.model_copy(
            update={
                "parameters": record.parameters
                | ({"source": source} if record.step == "fetch-image" else {"format": "ome.zarr"}),
                "written_as": artifact_of("record", "json", f"/jobs/{record.step}"),
            }
        )
        for record in chain("original", source)
    ]

    def placed(rows: list[Row]) -> set[str]:
        return {record.image_id for record in RunLayout(written, STEPS, rows).records()}

    row = {"source": source, "name": "any"}
    one, other = (Row.model_validate(row | {"image_id": name}) for name in ("b", "c"))
    assert placed([]) == {"original"}
    assert placed([one]) == {"b"}
    assert placed([one, other]) == {"original"}


def test_a_crate_goes_back_to_the_source(jobs: Jobs, tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    tifffile.imwrite(web / "cells.tif", 100 * discs(4).astype(np.uint16))
    with serve(web) as server:
        source = f"{server.url}/cells.tif"
        original = jobs.run("fetch-image", "any", source=source)["original"]
    image = jobs.run("convert-image", "any_1", source=original)["image"]
    jobs.run("segment-objects", "any_2", image=image)
    rows = [Row(image_id="cells", source=source)]
    folder, sheet = tmp_path / "results", tmp_path / "samples.tsv"
    collect_results(jobs.data + jobs.records, folder, STEPS, rows)
    write_sheet(sheet, rows)
    command = ["record-run", f"--results={folder}", f"--sheet={sheet}"]
    assert main([*command, f"--crate={tmp_path / 'crate'}"]) == 0
    text = (tmp_path / "crate/ro-crate-metadata.json").read_text()
    graph = {entity["@id"]: entity for entity in json.loads(text)["@graph"]}
    actions = {
        step: graph[f"#action/{step}/cells/0001"]
        for step in ("fetch_image", "convert_image", "segment_objects")
    }
    assert {"@id": source} in actions["fetch_image"]["object"]
    for one, other in pairwise(actions.values()):
        made = one["result"] if isinstance(one["result"], list) else [one["result"]]
        assert any(part in other["object"] for part in made)


def crate_with_lists(jobs: Jobs, folder: Path) -> Path:
    """Return the crate of a segmented image, made of records alone; its data are laid out, too."""
    jobs.run("segment-objects", "a", image=jobs.upload())
    for name, given in (("records", jobs.records), ("results", jobs.data + jobs.records)):
        collect_results(given, folder / name, STEPS)
    write_sheet(folder / "a.tsv", [Row(image_id="a", source="a")])
    command = ["record-run", f"--results={folder / 'records'}", f"--sheet={folder / 'a.tsv'}"]
    crate = folder / "crate.zip"
    assert main([*command, "--include-digest-lists", f"--crate={crate}"]) == 0
    shutil.rmtree(folder / "records")
    shutil.rmtree(folder / "results" / "digests")
    return crate


def test_a_crate_of_records_alone_names_the_chunk_that_is_changed(
    jobs: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crate = crate_with_lists(jobs, tmp_path)
    labels = tmp_path / "results/images/a/labels/nuclei.ome.zarr"
    chunk = next(path for path in labels.rglob("*") if path.is_file() and "c" in path.parts)
    flip(chunk)
    command = ["verify-run", str(crate), f"--results={tmp_path / 'results'}"]
    assert main(command) == 4
    out = capsys.readouterr().out
    assert f"\n  {chunk.relative_to(labels)} is changed\n" in out
    (line,) = [line for line in out.splitlines() if " digests/" in line]
    assert line.startswith("unchanged  copy    digests/zarr-merkle-sha256-")
    assert unlisted(read_crate(crate)) == []


def test_a_list_in_a_crate_that_was_changed_is_not_taken(
    jobs: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zipped = ZipFile(crate_with_lists(jobs, tmp_path))
    zipped.extractall(tmp_path / "crate")
    zipped.close()
    (own,) = (tmp_path / "crate" / "digests").iterdir()
    labels = tmp_path / "results/images/a/labels/nuclei.ome.zarr"
    flip(next(path for path in labels.rglob("*") if path.is_file() and "c" in path.parts))
    own.write_text(own.read_text().replace("zarr.json", "other.json"))
    assert main(["verify-run", str(tmp_path / "crate"), f"--results={tmp_path / 'results'}"]) == 4
    out = capsys.readouterr().out
    assert "changed    copy    digests/" in out
    assert "other.json" not in out


def verified(crate: Path, results: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Verify a crate; return the exit code, and status and reasons of its records by path."""
    report = crate.with_suffix(".json")
    code = main(["verify-run", str(crate), f"--results={results}", f"--json={report}"])
    entries = json.loads(report.read_text())["entries"]
    return code, {
        entry["name"]: (entry["status"], " ".join(entry["reasons"]))
        for entry in entries
        if entry["role"] == "record"
    }


def test_records_are_verified_as_their_jobs_wrote_them(jobs: Jobs, tmp_path: Path) -> None:
    crate = crate_with_lists(jobs, tmp_path)
    name = "records/segment_objects/a/0001.written.json"
    assert verified(crate, tmp_path / "results") == (0, {name: ("unchanged", "")})
    assert digest_path(tmp_path / "results" / name) == digest_path(jobs.records[0])
    (tmp_path / "moved").mkdir()
    copies = [Path(shutil.copy(path, tmp_path / "moved")) for path in jobs.records]
    collect_results([*jobs.data, *copies], tmp_path / "again", STEPS)
    assert verified(crate, tmp_path / "again") == (0, {name: ("unchanged", "")})
    copies[0].write_bytes(copies[0].read_bytes() + b"\n")
    code, records = verified(crate, tmp_path / "again")
    assert (code, records[name][0]) == (4, "changed")
    copies[0].unlink()
    code, records = verified(crate, tmp_path / "again")
    assert (code, records[name][0]) == (4, "missing")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda record: record.update(commit="b" * 40), "says otherwise: commit"),
        (lambda record: record["outputs"][0].update(digest="sha256:0"), "otherwise: outputs"),
        (lambda record: record.clear(), "cannot be read as a record"),
    ],
)
def test_a_record_that_was_changed_after_it_was_laid_out_is_told(
    jobs: Jobs, tmp_path: Path, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    crate = crate_with_lists(jobs, tmp_path)
    path = tmp_path / "results" / "records/segment_objects/a/0001.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    code, records = verified(crate, tmp_path / "results")
    ((status, reasons),) = records.values()
    assert (code, status) == (4, "changed")
    assert reasons.endswith(told)


@pytest.mark.parametrize("name", ["zarr-merkle-sha256:" + "0" * 64, "x:/../../../up", "x:/tmp/up"])
def test_a_list_that_is_not_what_it_says_is_left_out(
    jobs: Jobs, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    record = segment("a", 1).model_dump(mode="json") | {"digest_lists": {name: "x\n"}}
    path = jobs.upload(json.dumps(record).encode())
    collected([path], tmp_path / "home" / "results")
    assert "has a list of digests that is not what it says" in caplog.text
    assert not [p for p in tmp_path.rglob("*") if p.name == "digests" or p.name.startswith("up")]


def test_attempts_are_counted_as_they_came(jobs: Jobs, tmp_path: Path) -> None:
    image = jobs.upload()
    jobs.run("filter-image", "a", image=image, channels=["none such"])
    first = jobs.run("filter-image", "a", image=image)["filtered"]
    jobs.run("segment-objects", "a", image=first)
    sharp = {"method": "median"}
    second = jobs.run("filter-image", "a", image=image, filter=sharp)["filtered"]
    records = collected([*reversed(jobs.records), *jobs.data], tmp_path / "results")
    attempts = of(records, "filter-image", "a")
    assert [(r.attempt, r.status) for r in attempts] == [(1, "failed"), (2, "done"), (3, "done")]
    place = tmp_path / "results/images/a/filtered.ome.zarr"
    assert place.resolve() == (second / "filtered.ome.zarr").resolve()
    (segmented,) = of(records, "segment-objects", "a")
    assert segmented.inputs[0].digest == attempts[1].outputs[0].digest
    assert segmented.inputs[0].uri == "images/a/filtered.ome.zarr"


def test_a_filter_that_changes_nothing_is_no_input_of_itself(jobs: Jobs, tmp_path: Path) -> None:
    image = jobs.upload()
    same = {"filter": {"method": "gaussian", "sigma_px": 0.01}}
    once = jobs.run("filter-image", "a", image=image, **same)["filtered"]
    twice = jobs.run("filter-image", "a", image=once, **same)["filtered"]
    jobs.run("segment-objects", "a", image=twice)
    records = collected([image, *jobs.data, *jobs.records], tmp_path / "results")
    digests = {r.outputs[0].digest for r in of(records, "filter-image", "a")}
    assert len(digests) == 1
    (segmented,) = of(records, "segment-objects", "a")
    assert segmented.inputs[0].uri == "images/a/filtered.ome.zarr"


def test_what_belongs_to_no_record_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    jobs.run("assess-quality", "a", image=jobs.upload())
    same_size = jobs.data[0].read_bytes().swapcase()
    for content in (b"something else", same_size):
        strange = jobs.upload(content)
        with pytest.raises(InputError, match=f"1 of the data belong to no record.*{strange.name}"):
            collected([*jobs.data, *jobs.records, strange], tmp_path / strange.name / "results")


def test_without_a_record_nothing_is_done(jobs: Jobs, tmp_path: Path) -> None:
    jobs.run("assess-quality", "a", image=jobs.upload())
    with pytest.raises(InputError, match=r"no record among the data.*'record'"):
        collected(jobs.data, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_record_that_was_changed_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    jobs.run("assess-quality", "a", image=jobs.upload())
    text = jobs.records[0].read_text()
    jobs.records[0].write_text(text.replace('"pid"', '"pod"'))
    with pytest.raises(InputError, match=r"A record cannot be read.*as its job wrote it"):
        collected(jobs.records, tmp_path / "results")
    jobs.records[0].write_text(text.replace('"assess-quality"', '"assess-nothing"'))
    with pytest.raises(InputError, match=r"a step that this version does not have.*assess-nothing"):
        collected(jobs.records, tmp_path / "results")
    jobs.records[0].write_text(text.replace('"quality"', '"qualities"'))
    with pytest.raises(InputError, match=r"no such input or output.*quality.*qualities"):
        collected(jobs.records, tmp_path / "results")


ELSEWHERE = [("image_id", name) for name in ("../../up", "/tmp/up", "a/b", "..", "", "a\0b")]
ELSEWHERE += [("label_name", name) for name in ("../../up", "/tmp/up", "a/../../b", "a\0b")]


@pytest.mark.parametrize(("key", "name"), ELSEWHERE)
def test_a_record_reaches_nowhere_else(jobs: Jobs, tmp_path: Path, key: str, name: str) -> None:
    record = segment("a", 1).model_dump(mode="json")
    (record if key == "image_id" else record["parameters"])[key] = name
    path = jobs.upload(json.dumps(record).encode())
    with pytest.raises(InputError, match=r"no place in a results folder.*as its job wrote it"):
        collected([path], tmp_path / "home" / "results")
    assert not (tmp_path / "home").exists()


def test_what_is_missing_of_an_image_is_told(
    jobs: Jobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.analyse("a", jobs.upload())
    jobs.run("filter-image", "b", image=jobs.upload())
    empty = jobs.upload(b"")
    with caplog.at_level(logging.WARNING):
        collected([empty, *jobs.data, *jobs.records], tmp_path / "results")
    told = {
        path.parent.name: json.loads(path.read_text())["images"]
        for path in (tmp_path / "results/outcomes").glob("*/0.json")
    }
    assert set(told) == {"segment_objects", "measure_objects", "assess_quality"}
    states = {step: [(i["image_id"], i["status"]) for i in images] for step, images in told.items()}
    assert states["segment_objects"] == [("b", "failed")]
    assert states["measure_objects"] == states["assess_quality"] == [("b", "skipped")]
    assert all(i["failed_step"] == "segment-objects" for step in told.values() for i in step)
    assert "No record of segment-objects: b" in caplog.text
    assert f"{empty} is empty" in caplog.text


def test_an_image_of_which_there_is_but_a_name_is_told(jobs: Jobs, tmp_path: Path) -> None:
    jobs.analyse("a", jobs.upload())
    listing, images = tmp_path / "list", tmp_path / "images"
    listing.write_text("\n".join(map(str, (*jobs.data, *jobs.records))))
    images.write_text("a\n  \nin/it's \t$HOME.tif\n")
    folder, sheet = tmp_path / "results", tmp_path / "samples.tsv"
    command = ["collect-results", f"--listing={listing}", f"--folder={folder}"]
    assert main([*command, f"--sheet={sheet}", f"--images={images}"]) == 0
    a, lost = read_sheet(sheet)
    assert (a.image_id, a.name) == ("a", "a")
    assert (lost.name, lost.source) == ("in/it's $HOME.tif", "it's $HOME.tif")
    assert lost.image_id == image_id_of("in/it's \t$HOME.tif", "in/it's \t$HOME.tif")
    outcome = json.loads((folder / "outcomes/filter_image/0.json").read_text())
    assert [(i["image_id"], i["status"]) for i in outcome["images"]] == [(lost.image_id, "failed")]
    later = json.loads((folder / "outcomes/segment_objects/0.json").read_text())
    assert later["images"][0]["failed_step"] == "filter-image"


def test_the_command_makes_a_report_and_a_crate(shared: Jobs, tmp_path: Path) -> None:
    listing, folder, sheet = tmp_path / "list", tmp_path / "results", tmp_path / "samples.tsv"
    listing.write_text("\n".join(map(str, (*shared.data, *shared.records))) + "\n\n")
    command = ["collect-results", f"--listing={listing}", f"--folder={folder}"]
    assert main([*command, f"--sheet={sheet}"]) == 0
    assert [line.split("\t")[0] for line in sheet.read_text().splitlines()] == [
        "image_id",
        "a",
        "b",
    ]
    both = [f"--results={folder}", f"--sheet={sheet}"]
    report, workflow = tmp_path / "report.html", tmp_path / "workflow.ga"
    assert main(["render-report", *both, f"--report={report}"]) == 0
    assert report.read_text().count('<article class="card">') == 2
    workflow.write_text('{"a_galaxy_workflow": "true"}')
    for profile, given in {
        "process-run-crate": [],
        "provenance-run-crate": [f"--workflow={workflow}"],
    }.items():
        packed = tmp_path / f"{profile}.zip"
        assert main(["record-run", *both, *given, f"--crate={packed}"]) == 0
        first = packed.read_bytes()
        assert main(["record-run", *both, *given, f"--crate={packed}", "--replace"]) == 0
        assert packed.read_bytes() == first
        with ZipFile(packed) as crate:
            crate.extractall(tmp_path / profile)
        cache = seed_cache(tmp_path / "cache")
        assert findings(tmp_path / profile, cache, "REQUIRED", profile) == []


def test_the_command_goes_by_the_sheet(
    shared: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing, rows, sheet = tmp_path / "list", tmp_path / "rows.tsv", tmp_path / "samples.tsv"
    listing.write_text("\n".join(map(str, shared.records)))
    rows.write_text("image_id\tsource\tdrug\nb\thttps://example.org/b.tif\tnone\n")
    command = ["collect-results", "--listing", str(listing), "--folder", str(tmp_path / "results")]
    assert main([*command, "--sheet", str(sheet), "--rows", str(rows)]) == 0
    header, row = (line.split("\t") for line in sheet.read_text().splitlines())
    assert dict(zip(header, row, strict=True))["drug"] == "none"
    assert "1 image(s) are not in the sample sheet: a" in capsys.readouterr().err
    assert main([*command, "--sheet", str(sheet)]) == 2
    assert main(["collect-results", "--listing=none", "--folder=x", "--sheet=y"]) == 2
