"""Elementary functions: agreement with those of NumPy, identities, and the ends of their range."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from parfocal.analysis.elementary import (
    arc_tangent,
    cube_root,
    eigenvalues,
    exponential,
    logarithm,
    sine,
)

CLOSE = 1e-15
"""A few of the smallest steps of a number."""

numbers = st.floats(-1e9, 1e9, allow_subnormal=False)


@given(arrays(float, (2, 7), elements=numbers))
def test_arc_tangents_are_those_of_numpy(places):
    expected = np.arctan2(*places)
    expected[(places == 0).all(axis=0)] = 0  # also where a zero has a sign
    expected = np.where((places[0] == 0) & (places[1] < 0), math.pi, expected)
    np.testing.assert_allclose(arc_tangent(*places), expected, rtol=CLOSE, atol=1e-300)


@pytest.mark.parametrize(
    ("y", "x", "eighths"), [(0, 1, 0), (1, 1, 1), (1, 0, 2), (1, -1, 3), (0, -1, 4), (-1, 0, -2)]
)
def test_arc_tangents_of_eighths_of_a_turn(y, x, eighths):
    found = arc_tangent(np.array([float(y)]), np.array([float(x)]))
    assert found == pytest.approx(eighths * math.pi / 4, rel=CLOSE)


@given(arrays(float, 9, elements=st.floats(0, 1e300)))
def test_cube_roots_are_those_of_numpy(values):
    np.testing.assert_allclose(cube_root(values), np.cbrt(values), rtol=CLOSE)


def test_cube_roots_of_whole_cubes():
    whole = np.arange(2000.0)
    np.testing.assert_allclose(cube_root(whole * whole * whole), whole, rtol=CLOSE)
    assert cube_root(np.zeros(3)).tolist() == [0, 0, 0]


def test_sines_are_those_of_numpy():
    angles = np.linspace(0, math.pi / 2, 10_001)
    np.testing.assert_allclose(sine(angles), np.sin(angles), rtol=CLOSE)


@given(st.floats(1e-300, 1e300))
def test_logarithms_and_exponentials_are_those_of_the_library(value):
    assert logarithm(value) == pytest.approx(math.log(value), rel=CLOSE, abs=CLOSE)
    assert exponential(-abs(logarithm(value))) == pytest.approx(min(value, 1 / value), rel=1e-12)


@given(arrays(float, (3, 4, 3), elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
def test_eigenvalues_are_those_of_lapack(vectors):
    for size in (2, 3):
        seen = vectors[:, :, :size]
        matrices = (seen[:, :, :, None] * seen[:, :, None, :]).sum(axis=1)
        expected = np.linalg.eigvalsh(matrices)[:, ::-1]
        largest = np.abs(expected).max(axis=1, keepdims=True)
        assert (np.abs(eigenvalues(matrices) - expected) <= 1e-14 * largest).all()


def test_eigenvalues_are_those_of_each_matrix_alone():
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(50, 3, 3))
    matrices += matrices.transpose(0, 2, 1)
    matrices[0] = np.diag([1.0, 3.0, 2.0])
    together = eigenvalues(matrices)
    assert together[0].tolist() == [3, 2, 1]
    for one, expected in zip(matrices, together, strict=True):
        assert eigenvalues(one[None])[0].tolist() == expected.tolist()
