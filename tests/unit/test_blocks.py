import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parfocal.core.blocks import expand, iter_blocks, region_shape, whole

sizes = st.tuples(*[st.integers(1, 4)] * 5)
halos = st.tuples(*[st.integers(0, 3)] * 5)


@given(shape=sizes, block=sizes)
def test_blocks_cover_every_pixel_once(shape, block) -> None:
    seen = np.zeros(shape, int)
    for region in iter_blocks(whole(shape), block):
        seen[region] += 1
        assert all(0 < size <= most for size, most in zip(region_shape(region), block, strict=True))
    assert (seen == 1).all()


@given(shape=sizes, block=sizes, data=st.data())
def test_blocks_of_a_part_keep_to_the_grid_of_the_whole(shape, block, data) -> None:
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    extent = tuple(
        slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape, strict=True)
    )
    seen = np.zeros(shape, int)
    for region in iter_blocks(extent, block):
        seen[region] += 1
        for part, size in zip(region, block, strict=True):
            assert part.start // size == (part.stop - 1) // size
    expected = np.zeros(shape, int)
    expected[extent] = 1
    assert (seen == expected).all()


def test_blocks_come_with_x_fastest() -> None:
    regions = list(iter_blocks(whole((1, 1, 1, 4, 5)), (1, 1, 1, 2, 3)))
    corners = [(region[3].start, region[4].start) for region in regions]
    assert corners == [(0, 0), (0, 3), (2, 0), (2, 3)]


@given(shape=sizes, block=sizes, halo=halos)
def test_expand_grows_within_the_image_and_finds_the_region_again(shape, block, halo) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape)
    for region in iter_blocks(whole(shape), block):
        outer, inner = expand(region, halo, shape)
        assert (pixels[outer][inner] == pixels[region]).all()
        for grown, part, margin, size in zip(outer, region, halo, shape, strict=True):
            assert grown.start == max(0, part.start - margin)
            assert grown.stop == min(size, part.stop + margin)
