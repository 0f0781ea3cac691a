"""Which image each step of a workflow takes, as optional steps hand theirs on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["CHAIN", "ImageChain", "chain_images"]

CHAIN = ("correct_illumination", "project_image", "filter_image")
"""The optional steps that make an image of an image, in their order."""

_UNSMOOTHED = ("measure_objects", "assemble_image", "preview_image")
"""The steps that take the image before the filter, with the objects."""


@dataclass(frozen=True)
class ImageChain:
    """For each step that takes an image, by the name of its rule.

    Attributes
    ----------
    after : dict of str to str
        The rule that makes the image.
    image : dict of str to str
        Where the image lies below the results folder.
    """

    after: dict[str, str]
    image: dict[str, str]


def chain_images(configured: Collection[str]) -> ImageChain:
    """Hand the image on from the conversion through the optional steps to the segmentation.

    Objects are found in the filtered image, and measured in, and shown with, the one before the
    filter: it has the pixels that the label image belongs to, and unsmoothed intensities.

    Parameters
    ----------
    configured : collection of str
        Which steps of `CHAIN` are part of the run.
    """
    from parfocal.steps import load_step

    maker, place = "convert_image", "images/{image_id}/image.ome.zarr"
    after: dict[str, str] = {}
    image: dict[str, str] = {}
    for name in (*CHAIN, "segment_objects"):
        after[name], image[name] = maker, place
        if name in configured:
            maker, place = name, load_step(name.replace("_", "-")).outputs[0].path
    image |= dict.fromkeys(_UNSMOOTHED, image["filter_image"])
    return ImageChain(after, image)
