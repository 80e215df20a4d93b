"""Fronts of pymoo's constrained problems: MW, CTP, DAS-CMOP, C-DTLZ, DC-DTLZ, classic ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pymoo.problems.many as many
import pymoo.problems.multi as multi
from scipy.optimize import brentq

from .design_fronts import welded_beam_set
from .envelope import TOLERANCE, LowerEnvelope, refined_front
from .sampling import (
    non_dominated,
    product_grid,
    record_lows,
    simplex_lattice,
    spanning_products,
    sphere_lattice,
    spread_over,
    thin,
)
from .unconstrained_fronts import sphere_of


def _last_column(x: np.ndarray) -> np.ndarray:
    return x[:, -1]


def _last_column_2d(x: np.ndarray) -> np.ndarray:
    return x[:, -1:]


# --- MW (Ma & Wang 2019) -------------------------------------------------------------------------


def _mw_front(problem: Any, n: int) -> np.ndarray | None:
    probe = copy.copy(problem)
    probe.g1 = probe.g2 = probe.g3 = _last_column
    # MW10 raises the position to the power n_var, which changes its density but not its range.
    probe.n_var = 1
    # At the very end the root of a rounded zero may not be real.
    ends = (problem.xl[0], problem.xu[0] * (1.0 - 1e-15))
    return refined_front(probe, ends, n, np.linspace(1.0, 3.0, 301))


def _mw8_front(problem: Any, n: int) -> np.ndarray:
    def feasible(f: np.ndarray) -> np.ndarray:
        # The bound on |f| depends on the last angle only, so at |f| = 1 all is decided.
        return 1.25 - 0.5 * np.sin(6.0 * np.arcsin(np.minimum(f[:, -1], 1.0))) ** 2 >= 1.0

    return filtered_sphere(problem.n_obj, feasible, n)


def filtered_sphere(
    n_obj: int, feasible: Callable[[np.ndarray], np.ndarray], n_points: int
) -> np.ndarray:
    """The feasible points of a sphere lattice so fine that about `n_points` are left."""
    share = np.mean(feasible(sphere_lattice(n_obj, 5000)))
    f = sphere_lattice(n_obj, int(n_points / max(share, 0.01)))
    return f[feasible(f)]


def _mw14_front(problem: Any, n: int) -> np.ndarray:
    """f_M is a mean of terms of each other objective, and feasible at g = 1 everywhere."""

    def term(f: np.ndarray) -> np.ndarray:
        return 6.0 - np.exp(f) - 1.5 * np.sin(1.1 * np.pi * f**2)

    pieces = record_lows(term, 0.0, 1.5)
    per_axis = max(2 * len(pieces), int(n ** (1.0 / (problem.n_obj - 1)) + 1e-9))
    f = product_grid([spread_over(pieces, per_axis)] * (problem.n_obj - 1))
    return np.column_stack([f, term(f).mean(axis=1)])


# --- CTP (Deb, Pratap & Meyarivan 2001) ----------------------------------------------------------


def _ctp_front(problem: Any, n: int) -> np.ndarray | None:
    probe = copy.copy(problem)
    probe.calc_g = _last_column
    # Distances above 25 are far beyond every bound of these problems.
    levels = np.linspace(1.0, min(_ctp_greatest_distance(problem), 25.0), 601)
    return refined_front(probe, (0.0, 1.0), n, levels)


def _ctp_greatest_distance(problem: Any) -> float:
    """Both distance functions are 1 plus a sum over single variables."""
    values = np.linspace(problem.xl[1:], problem.xu[1:], 2001)
    alone = np.zeros((len(values), 1))
    gains = []
    for column in values.T:
        alone[:, 0] = column
        gains.append(np.max(problem.calc_g(alone)) - 1.0)
    return 1.0 + sum(gains)


def _ctp_tips_front(power: float, problem: Any, n: int) -> np.ndarray:
    """CTP3-5: the feasible region touches a line in the cusps of its tunnels.

    On the line from (0, 1) with slope -tan(0.2 pi) a point at distance z is the limit of feasible
    points where sin(10 pi z^c) = 0; these tips are so sharp that no grid finds them. CTP5 has a
    piece beside them, near (0, 1), where z^2 is flat.
    """
    theta = 0.2 * np.pi
    longest = 1.0 / np.cos(theta)
    k = np.arange(0, int(10.0 * longest**power) + 1)
    z = (k / 10.0) ** (1.0 / power)
    tips = np.column_stack([z * np.cos(theta), 1.0 - z * np.sin(theta)])
    beside = _ctp_front(problem, n)
    return non_dominated(tips if beside is None else np.concatenate([tips, beside]))


# --- DAS-CMOP (Fan et al. 2020) ------------------------------------------------------------------


def _dascmop_levels(problem: Any) -> np.ndarray:
    """Distances tried, among them the ends of the band that the convergence constraint allows."""
    if problem.zeta == 0:
        return np.linspace(0.0, 3.0, 151)
    end = 0.5 - np.log(problem.zeta)
    return np.union1d(np.linspace(0.5, max(end, 0.5), 101), [end - 1e-4, end])


def _dascmop_probe(problem: Any) -> Any:
    probe = copy.copy(problem)
    probe.g1 = probe.g2 = probe.g3 = _last_column_2d
    return probe


def _dascmop_front(problem: Any, n: int) -> np.ndarray | None:
    return refined_front(_dascmop_probe(problem), (0.0, 1.0), n, _dascmop_levels(problem), 1)


def _dascmop_front_3(problem: Any, n: int) -> np.ndarray | None:
    s = simplex_lattice(3, 5 * n)
    if isinstance(problem, multi.DASCMOP8):
        s = sphere_of(s)
        first, second = np.arcsin(s[:, 2]), np.arctan2(s[:, 1], s[:, 0])
        u = np.column_stack([first, second]) / (0.5 * np.pi)
    else:
        width = s[:, 0] + s[:, 1]
        u = np.column_stack([s[:, 0] / np.where(width > 0, width, 1.0), 1.0 - s[:, 2]])
    u = np.clip(u, 0.0, 1.0)
    _, f = LowerEnvelope(_dascmop_probe(problem), _dascmop_levels(problem), 2)(u)
    if not len(f):
        return None
    return thin(non_dominated(f), n)


# --- C-DTLZ (Jain & Deb 2014) and DC-DTLZ (Li, Chen, Fu & Yao 2019) -------------------------------


def _c2dtlz2_front(problem: Any, n: int) -> np.ndarray:
    """The caps of the sphere about its corners and its centre."""

    def feasible(f: np.ndarray) -> np.ndarray:
        to_corner = np.sum(f**2, axis=1) - 2.0 * f.max(axis=1) + 1.0
        to_centre = np.sum((f - 1.0 / np.sqrt(problem.n_obj)) ** 2, axis=1)
        return np.minimum(to_corner, to_centre) <= problem.r**2 + TOLERANCE

    return filtered_sphere(problem.n_obj, feasible, n)


def _c3dtlz1(problem: Any, directions: np.ndarray) -> np.ndarray:
    """The smallest multiple of each direction with f_i + sum f >= 1 for all i."""
    return directions / (1.0 + directions.min(axis=1, keepdims=True))


def _c3dtlz4(problem: Any, directions: np.ndarray) -> np.ndarray:
    """The smallest multiple of each direction with |f|^2 - 3/4 f_i^2 >= 1 for all i."""
    s = sphere_of(directions)
    return s / np.sqrt(1.0 - 0.75 * s.max(axis=1, keepdims=True) ** 2)


def _cosine_bands(bound: float) -> list[tuple[float, float]]:
    """Where cos(5 pi x) >= bound in [0, 1]."""
    half = np.arccos(bound) / (5.0 * np.pi)
    bands = [(centre - half, centre + half) for centre in (0.0, 0.4, 0.8)]
    return [(max(low, 0.0), min(high, 1.0)) for low, high in bands]


def _banded_positions(all_banded: bool, problem: Any, n: int) -> np.ndarray:
    per_axis = max(6, int(n ** (1.0 / (problem.n_obj - 1)) + 1e-9))
    bands = spread_over(_cosine_bands(0.5 if all_banded else 0.95), per_axis)
    free = bands if all_banded else np.linspace(0.0, 1.0, per_axis)
    return product_grid([bands, *[free] * (problem.n_obj - 2)])


def _banded_front(all_banded: bool, spherical: bool, problem: Any, n: int) -> np.ndarray:
    """DC1 (first position variable in bands) and DC3 (all of them)."""
    u = _banded_positions(all_banded, problem, 4 * n)
    if spherical:
        f = spanning_products(np.cos(0.5 * np.pi * u), np.sin(0.5 * np.pi * u))
    else:
        f = 0.5 * spanning_products(u, 1.0 - u)
    # Rounding must not make two images of one corner look different.
    return thin(non_dominated(np.round(f, 14)), n)


# --- classic problems ----------------------------------------------------------------------------


def _set_image(make_set: Callable[[Any, int], np.ndarray], problem: Any, n: int) -> np.ndarray:
    f = problem.evaluate(make_set(problem, 4 * n), return_values_of=["F"])
    return thin(non_dominated(f), n)


def _bnh_set(problem: Any, n: int) -> np.ndarray:
    first = np.linspace(0.0, 5.0, n)
    return np.column_stack([first, np.minimum(first, 3.0)])


def _srn_set(problem: Any, n: int) -> np.ndarray:
    """Three pieces: along the linear constraint, the line x_1 = -2.5, and along the circle."""
    on_line = np.linspace(2.5, 3.7, n // 3)
    top = np.sqrt(225.0 - 2.5**2)
    inside = np.linspace(2.5, top, n // 3)
    # On the circle f2 = 135 cos a - (15 sin a - 1)^2, which falls until its derivative is zero.
    start = np.arccos(-2.5 / 15.0)
    end = brentq(
        lambda a: -9.0 * np.sin(a) - 2.0 * np.cos(a) * (15.0 * np.sin(a) - 1.0), start, 2.5
    )
    angle = np.linspace(start, end, n - 2 * (n // 3))
    return np.concatenate(
        [
            np.column_stack([3.0 * on_line - 10.0, on_line]),
            np.column_stack([np.full(len(inside), -2.5), inside]),
            15.0 * np.column_stack([np.cos(angle), np.sin(angle)]),
        ]
    )


def _tnk_front(problem: Any, n: int) -> np.ndarray:
    """The wavy circle, where it lies within the disc and is non-dominated; also the Pareto set."""
    angle = np.linspace(0.0, 0.5 * np.pi, 10 * n)
    radius = np.sqrt(1.0 + 0.1 * np.cos(16.0 * angle))
    f = radius[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    return thin(non_dominated(f[np.sum((f - 0.5) ** 2, axis=1) <= 0.5]), n)


def _osy_set(problem: Any, n: int) -> np.ndarray:
    """The five pieces found by Deb (2001, section 8.3.4); x_4 = x_6 = 0 throughout."""
    s = np.linspace(0.0, 1.0, n // 5)[:, None]
    ends = [
        ([5, 1, 5, 0, 5, 0], [5, 1, 1, 0, 5, 0]),
        ([5, 1, 5, 0, 1, 0], [5, 1, 1, 0, 1, 0]),
        ([5, 1, 1, 0, 1, 0], [4.056, (4.056 - 2) / 3, 1, 0, 1, 0]),
        ([0, 2, 3.732, 0, 1, 0], [0, 2, 1, 0, 1, 0]),
        ([0, 2, 1, 0, 1, 0], [1, 1, 1, 0, 1, 0]),
    ]
    return np.concatenate([(1.0 - s) * np.array(a) + s * np.array(b) for a, b in ends])


def _truss2d_set(problem: Any, n: int) -> np.ndarray:
    """Both stresses equal; y = 2 until the second bar's greatest area is reached, then y grows."""
    limit = problem.Amax
    turn = 40.0 * np.sqrt(5.0) / limit
    stress = np.geomspace(problem.Smax, turn, n // 2)
    y = np.concatenate([np.full(len(stress), 2.0), np.linspace(2.0, 3.0, n - len(stress))])
    s = np.concatenate([stress, 80.0 / limit * np.sqrt(1.0 + y[len(stress) :] ** 2)
                        / y[len(stress) :]])  # fmt: skip
    x1 = 20.0 * np.sqrt(16.0 + y**2) / (y * s)
    x2 = np.minimum(80.0 * np.sqrt(1.0 + y**2) / (y * s), limit)
    return np.column_stack([x1, x2, y])


CONSTRAINED_DIRECTIONS: dict[type, Callable[[Any, np.ndarray], np.ndarray]] = {
    **{cls: lambda problem, directions: 0.5 * directions for cls in (many.C1DTLZ1, many.DC2DTLZ1)},
    **{
        cls: lambda problem, directions: sphere_of(directions)
        for cls in (many.C1DTLZ3, many.DC2DTLZ3)
    },
    many.C3DTLZ1: _c3dtlz1,
    many.C3DTLZ4: _c3dtlz4,
    # MW2 and MW4: at g = 1 the bound is met with the sine zero or not.
    multi.MW2: lambda problem, directions: directions,
    multi.MW4: lambda problem, directions: directions,
}

CONSTRAINED_FRONTS: dict[type, Callable[[Any, int], np.ndarray | None]] = {
    many.C2DTLZ2: _c2dtlz2_front,
    many.DC1DTLZ1: partial(_banded_front, False, False),
    many.DC1DTLZ3: partial(_banded_front, False, True),
    many.DC3DTLZ1: partial(_banded_front, True, False),
    many.DC3DTLZ3: partial(_banded_front, True, True),
    **{getattr(multi, f"MW{i}"): _mw_front for i in (1, 3, 5, 6, 7, 9, 10, 11, 12, 13)},
    multi.MW8: _mw8_front,
    multi.MW14: _mw14_front,
    **{getattr(multi, f"CTP{i}"): _ctp_front for i in (1, 2, 6, 7, 8)},
    **{getattr(multi, f"CTP{i}"): partial(_ctp_tips_front, 1.0) for i in (3, 4)},
    multi.CTP5: partial(_ctp_tips_front, 2.0),
    **{getattr(multi, f"DASCMOP{i}"): _dascmop_front for i in range(1, 7)},
    **{getattr(multi, f"DASCMOP{i}"): _dascmop_front_3 for i in range(7, 10)},
    multi.BNH: partial(_set_image, _bnh_set),
    multi.SRN: partial(_set_image, _srn_set),
    multi.TNK: _tnk_front,
    multi.OSY: partial(_set_image, _osy_set),
    multi.Truss2D: partial(_set_image, _truss2d_set),
    multi.WeldedBeam: partial(_set_image, welded_beam_set),
}

CONSTRAINED_SETS: dict[type, Callable[[Any, int], np.ndarray | None]] = {
    multi.BNH: _bnh_set,
    multi.OSY: _osy_set,
    multi.SRN: _srn_set,
    multi.TNK: _tnk_front,
    multi.Truss2D: _truss2d_set,
    multi.WeldedBeam: welded_beam_set,
}
