import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from evogen.visualization import (
    plot_convergence,
    plot_front,
    plot_fronts,
    plot_shares,
    save_figure,
)

RNG = np.random.default_rng(0)


def sphere(n, n_obj):
    f = np.abs(RNG.normal(size=(n, n_obj)))
    return f / np.linalg.norm(f, axis=1, keepdims=True)


def dots(axes):
    """Coordinates of the largest dots: the solutions, not the true front."""
    drawn = [c for c in axes.collections if isinstance(c, PathCollection)]
    return np.asarray(max(drawn, key=lambda c: c.get_sizes()[0]).get_offsets())


def test_no_window_and_no_global_state_is_used():
    import subprocess

    code = (
        "import sys, numpy as np; from evogen.visualization import plot_front;"
        "plot_front(np.eye(2)); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_front_is_drawn_where_it_lies():
    f = sphere(20, 2)
    (axes,) = plot_front(f, sphere(500, 2)).axes
    assert np.array_equal(dots(axes), f)
    assert axes.get_xlabel() == "$f_{1}$"
    assert axes.get_ylabel() == "$f_{2}$"


def test_the_legend_names_what_is_drawn():
    figure = plot_front(sphere(20, 2), sphere(50, 2), label="gmoea", title="zdt1")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "gmoea (20 points)",
        "true front",
    ]
    assert figure.get_suptitle() == "zdt1"
    alone = plot_front(sphere(20, 2))
    assert [t.get_text() for t in alone.legends[0].get_texts()] == ["found (20 points)"]


def test_panels_share_one_scale():
    figure = plot_fronts({"a": sphere(9, 2), "b": 3 * sphere(9, 2), "c": np.empty((0, 2))})
    limits = {(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}
    assert len(figure.axes) == 3
    assert len(limits) == 1
    assert [axes.get_title() for axes in figure.axes] == [
        "a (9 points)",
        "b (9 points)",
        "c (0 points)",
    ]


@pytest.mark.parametrize("n_obj", [1, 2, 3, 5])
def test_any_number_of_objectives_can_be_drawn(n_obj, tmp_path):
    figure = plot_fronts({"a": sphere(9, n_obj), "b": sphere(7, n_obj)}, sphere(300, n_obj))
    path = save_figure(figure, tmp_path / "f.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert len(figure.axes) == 2
    assert hasattr(figure.axes[0], "get_zlabel") == (n_obj == 3)


def test_beyond_three_objectives_every_solution_is_a_line():
    (axes,) = plot_front(sphere(9, 4)).axes
    assert len(axes.lines) == 9
    assert [t.get_text() for t in axes.get_xticklabels()] == [f"$f_{{{i}}}$" for i in (1, 2, 3, 4)]


def test_rows_that_are_not_finite_are_left_out():
    f = np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 0.0]])
    (axes,) = plot_front(f).axes
    assert dots(axes).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("fronts", "front", "words"),
    [
        ({}, None, "empty"),
        ({"a": np.ones(3)}, None, "n_obj"),
        ({"a": np.ones((3, 2)), "b": np.ones((3, 3))}, None, "one n_obj"),
        ({"a": np.ones((3, 2))}, np.ones((3, 3)), "one n_obj"),
    ],
)
def test_shapes_that_do_not_match_are_refused(fronts, front, words):
    with pytest.raises(ValueError, match=words):
        plot_fronts(fronts, front)


def test_names_of_objectives_are_counted():
    (axes,) = plot_front(sphere(4, 2), objectives=["cost", "weight"]).axes
    assert axes.get_xlabel() == "cost"
    with pytest.raises(ValueError, match="must be 2 names"):
        plot_front(sphere(4, 2), objectives=["cost"])


def test_convergence_shows_median_and_quartiles():
    n_eval = np.arange(1, 6) * 100
    runs = np.array([[5, 4, 3, 2, 1], [6, 5, 4, 3, 2], [9, 8, 7, 6, 5]], dtype=float)
    (axes,) = plot_convergence({"a": (n_eval, runs)}).axes
    assert axes.lines[0].get_ydata().tolist() == [6, 5, 4, 3, 2]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1.5
    assert band[:, 1].max() == 7.5
    assert axes.get_xlabel() == "evaluations"


def test_convergence_is_logarithmic_when_that_shows_more():
    n_eval = np.arange(3)
    assert plot_convergence({"a": (n_eval, [1, 0.1, 0.01])}).axes[0].get_yscale() == "log"
    assert plot_convergence({"a": (n_eval, [1.0, 0.9, 0.8])}).axes[0].get_yscale() == "linear"
    assert plot_convergence({"a": (n_eval, [1.0, 0.1, 0.0])}).axes[0].get_yscale() == "linear"


def test_points_that_most_runs_do_not_have_are_not_drawn():
    runs = np.array([[np.nan, 1.0], [np.inf, 2.0], [3.0, 3.0]])
    (axes,) = plot_convergence({"a": (np.array([1, 2]), runs)}).axes
    median = axes.lines[0].get_ydata()
    assert np.isnan(median[0])
    assert median[1] == 2.0


def test_the_floor_is_drawn_unless_it_would_squeeze_the_curves():
    n_eval, runs = np.arange(2), [[1.0, 0.5]]

    def labels(floor):
        axes = plot_convergence({"a": (n_eval, runs)}, floor=floor).axes[0]
        return [text.get_text() for text in axes.get_legend().get_texts()]

    assert labels(0.1) == ["a", "floor"]
    assert labels(0.001) == ["a"]


def test_curves_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"curves\['a'\]"):
        plot_convergence({"a": (np.arange(3), np.ones((2, 4)))})
    with pytest.raises(ValueError, match="empty"):
        plot_convergence({})


def test_shares_are_stacked_to_one():
    shares = np.array([[1.0, 3.0], [2.0, 2.0]])
    (axes,) = plot_shares([100, 200], shares, ["model", "base"]).axes
    lower, upper = (c.get_paths()[0].vertices[:, 1] for c in axes.collections)
    assert lower.max() == 0.5
    assert upper.max() == 1.0
    assert upper.min() == 0.25


def test_shares_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        plot_shares([1, 2], np.ones((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="negative"):
        plot_shares([1], [[-1.0, 2.0]], ["a", "b"])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes(ending, tmp_path):
    f, front = sphere(20, 2), sphere(100, 2)
    files = [save_figure(plot_front(f, front), tmp_path / f"{i}.{ending}") for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_impossible_files_are_refused(tmp_path):
    figure = plot_front(np.eye(2))
    with pytest.raises(ValueError, match="must end in"):
        save_figure(figure, tmp_path / "f.docx")
    with pytest.raises(FileNotFoundError, match="no folder"):
        save_figure(figure, tmp_path / "nowhere" / "f.png")
