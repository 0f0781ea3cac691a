"""What the record tells of the objects that were found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parfocal.analysis.models.labels import LabelCounts
from parfocal.analysis.objects import ObjectTable, label_dtype
from parfocal.analysis.seams import SeamScore, TiledObjects, score_volumes
from parfocal.analysis.segment import Segmentation
from parfocal.analysis.stitch import Stitched
from parfocal.analysis.tiling import Tiling

__all__ = ["Findings", "of_labels", "of_segmentation"]


MOST_SHARE = 0.9
"""Objects that cover more of the image are rather its background."""

MANY_SPECKS = 100
"""So many dropped pieces, and more than there are objects, are rather noise."""


@dataclass
class Findings:
    """What is told.

    Attributes
    ----------
    details : dict
        For the record.
    warnings : list of str
        What the user must know.
    """

    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add_width(self, objects: int) -> None:
        """Add that labels need 64 bits, where they do."""
        if label_dtype(objects).itemsize == 8:
            self.details["label_bits"] = 64
            self.warnings.append(
                f"{objects} objects need labels of 64 bits, which some programs do not read"
            )

    def add_share(self, covered: int, pixels: int, label_name: str) -> None:
        """Add how much of the image is object, and what speaks against that.

        Parameters
        ----------
        covered, pixels : int
            Pixels of all objects, and of the image.
        label_name : str
            What the objects are called.
        """
        share = self.details["object_share"] = covered / pixels
        if share > MOST_SHARE:
            self.warnings.append(
                f"{100 * share:.0f} % of the image are {label_name}: if they do not touch each "
                "other everywhere, background was taken for them; see to threshold and polarity"
            )
        objects, specks = self.details["objects"], self.details["dropped_too_small"]
        if specks >= MANY_SPECKS and specks > objects:
            self.warnings.append(
                f"{specks} pieces were dropped as too small, more than the {objects} {label_name} "
                "that were kept: noise may have been taken for objects; raise the threshold, or "
                "smooth more"
            )

    def add_seams(self, volumes: Sequence[Sequence[TiledObjects]], borders: str) -> None:
        """Add the seam score of the objects of each volume, if there are borders.

        Parameters
        ----------
        volumes : sequence of sequence of TiledObjects
            As for `score_volumes`.
        borders : str
            What the borders are those of: ``tiles``, ``windows`` or ``blocks``.
        """
        divided = [volume for volume in volumes if any(len(one.tiling) > 1 for one in volume)]
        if not divided:
            return
        score = score_volumes(divided)
        self.details["seams"] = {"borders": borders} | score.details()
        if score.significant:
            self.warnings.append(_seam_warning(score, borders))

    def add_pieces(self, volumes: Sequence[Sequence[Stitched]], borders: str) -> None:
        """Add how objects were joined where tiles or windows meet."""
        found = [one for volume in volumes for one in volume]
        ambiguous = sum(one.ambiguous for one in found)
        self.details.update(
            merged_from_tiles=sum(one.merged for one in found),
            cut_by_tiles=ambiguous,
            contested=sum(one.contested for one in found),
        )
        if ambiguous:
            self.warnings.append(
                f"{ambiguous} objects are cut by a tile, and no other tile sees their rest: larger "
                "tiles with a larger overlap (of a model), or windows with more memory "
                "(whole_mib), avoid that"
            )
        self.add_seams(volumes, borders)


def _seam_warning(score: SeamScore, borders: str) -> str:
    remedy = "larger tiles, or a larger overlap, cut fewer objects"
    if borders == "blocks":
        remedy = (
            "nothing was cut there by the analysis, so that the image has seams of its own, such "
            "as those of a mosaic or of a camera, or its objects lie in a lattice"
        )
    return (
        f"Objects at the borders of {borders} differ from the others (p = {score.p:.1g}): "
        f"{score.flat} sides lie exactly at a border, {score.flat_expected:.0f} would by "
        f"chance; {remedy}"
    )


def of_segmentation(
    found: Segmentation,
    *,
    method: str,
    source: str,
    label_name: str,
    whole_mib: int,
    tiles: Tiling | None = None,
) -> Findings:
    """Tell what was found by a threshold.

    Parameters
    ----------
    found : Segmentation
        The objects.
    method : str
        How the threshold was found.
    source : str
        What was segmented, as ``channel``.
    label_name : str
        What the objects are called.
    whole_mib : int
        The memory in MiB beyond which components are divided in windows.
    tiles : Tiling, optional
        The tiles in which a model saw each time point.
    """
    table = found.table
    findings = Findings(
        {
            "threshold": found.threshold,
            "objects": len(table),
            "dropped_too_small": table.too_small,
            "dropped_too_large": table.too_large,
        }
    )
    findings.add_width(len(table))
    findings.add_share(table.boxes.pixels, math.prod(table.labels.shape5), label_name)
    tell = findings.warnings.append
    if found.not_finite:
        tell(f"{found.not_finite} pixels are NaN or infinite: they count as background")
    if table.large_components:
        tell(
            f"{len(table.large_components)} connected regions are so large that dividing them "
            f"needs much memory, the largest with {max(table.large_components)} pixels; a higher "
            "threshold or less smoothing makes them smaller"
        )
    if isinstance(table, ObjectTable) and table.windowed:
        findings.details["components_in_windows"] = len(table.windowed)
        tell(
            f"{len(table.windowed)} connected regions would need more than {whole_mib} MiB each, "
            "so that they were divided in overlapping windows, which is not exact; more whole_mib, "
            "a higher threshold or less smoothing avoids it"
        )
        findings.add_pieces(_windows(table), "windows")
    elif tiles is None:
        findings.add_seams([[one] for one in table.boxes.volumes()], "blocks")
    if tiles is not None:
        findings.add_seams([[one] for one in table.boxes.volumes(tiles)], "tiles")
    if found.in_noise is not None:
        tell(
            f"The {method} threshold {found.in_noise:.6g} lies within the noise of the background "
            f"and was moved to {found.threshold:.6g}, the limit of detection"
        )
    if found.coarse is not None:
        tell(
            "Some pixels are so bright that brightness was rounded to steps of "
            f"{found.coarse:.3g}, coarse beside the threshold {found.threshold:.6g}: clip these"
        )
    if found.constant:
        tell(f"The {source} has a single value, so that there is nothing to segment")
    elif not len(table):
        tell(f"No objects were found for {label_name}")
    return findings


def _windows(table: ObjectTable) -> list[list[Stitched]]:
    """Return what was divided in windows, that of each time point or plane together."""
    volumes: dict[tuple[int, int], list[Stitched]] = {}
    for place, one in zip(table.windowed_at, table.windowed, strict=True):
        volumes.setdefault(place, []).append(one)
    return list(volumes.values())


def of_labels(counts: LabelCounts, label_name: str) -> Findings:
    """Tell what a model found that gives labels.

    Parameters
    ----------
    counts : LabelCounts
        What was found.
    label_name : str
        What the objects are called.
    """
    findings = Findings(
        {
            "objects": counts.objects,
            "dropped_too_small": counts.too_small,
            "dropped_too_large": counts.too_large,
        }
    )
    findings.add_width(counts.objects)
    covered = sum(one.pixels for one in counts.stitched)
    pixels = sum(math.prod(one.tiling.shape) for one in counts.stitched)
    findings.add_share(covered, pixels, label_name)
    findings.add_pieces([[one] for one in counts.stitched], "tiles")
    if not counts.objects:
        findings.warnings.append(f"No objects were found for {label_name}")
    return findings
