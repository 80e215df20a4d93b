import numpy as np
import pytest

from evogen.visualization import plot_attainment, plot_ranks, plot_steps, save_figure


def texts(figure):
    return [text.get_text().strip() for text in figure.axes[0].texts]


def test_ranks_are_named_on_both_sides_and_groups_joined(tmp_path):
    figure = plot_ranks([3.2, 1.5, 2.0], ["c", "a", "b"], 1.1, [[1, 2]], title="ranks")
    assert {"a (1.50)", "b (2.00)", "c (3.20)", "critical difference 1.10"} <= set(texts(figure))
    lines = [np.asarray(line.get_data()) for line in figure.axes[0].lines]
    widths = [line.get_linewidth() for line in figure.axes[0].lines]
    (bar,) = [line for line, width in zip(lines, widths, strict=True) if width == 4]
    assert bar[0].min() <= 1.5 < 2.0 <= bar[0].max() < 3.2
    (scale,) = [line for line, width in zip(lines, widths, strict=True) if width == 2]
    assert np.ptp(scale[0]) == pytest.approx(1.1)
    for i, rank in enumerate([3.2, 1.5, 2.0]):
        assert any(
            line[0][0] == rank and line[1][0] == 0 for line in lines if line.shape[1] == 3
        ), i
    assert save_figure(figure, tmp_path / "ranks.png").stat().st_size > 1000


def test_equal_ranks_still_make_a_scale(tmp_path):
    figure = plot_ranks([2.0, 2.0], ["a", "b"], 3.0, [[0, 1]])
    save_figure(figure, tmp_path / "ranks.png")
    low, high = figure.axes[0].get_xlim()
    assert low < 2.0
    assert high >= 5.0  # the critical difference fits


@pytest.mark.parametrize("ranks", [[], [1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_ranks_that_do_not_match_their_labels_are_refused(ranks):
    with pytest.raises(ValueError, match="mean_ranks"):
        plot_ranks(ranks, ["a", "b"], 1.0)


def test_steps_hold_from_their_point_on():
    figure = plot_steps([1, 10, 100], {"a": [0, 0.5, 1], "b": [0.2, 0.2, 0.2]}, xlabel="times")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert [line.get_drawstyle() for line in axes.lines] == ["steps-post"] * 2
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.lines[0].get_ydata().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(("x", "shares"), [([], {"a": []}), ([1], {}), ([1, 2], {"a": [1]})])
def test_steps_of_the_wrong_length_are_refused(x, shares):
    with pytest.raises(ValueError, match=r"nothing to draw|as long as x"):
        plot_steps(x, shares, xlabel="x")


def test_surfaces_are_staircases_that_reach_the_edges():
    surfaces = {"a": {50: [[0.2, 0.8], [0.6, 0.3]]}, "b": {25: [[0.1, 0.9]], 50: [[0.4, 0.5]]}}
    figure = plot_attainment(surfaces, front=[[0.0, 1.0], [1.0, 0.0]])
    lines = figure.axes[0].lines
    # From the upper edge down to the first point, and from the last to the right edge.
    assert lines[0].get_xdata().tolist() == [0.2, 0.2, 0.6, 0.6]
    assert lines[0].get_ydata().tolist() == [0.9, 0.8, 0.3, 0.3]
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["a", "b"]
    assert lines[1].get_linestyle() == ":"


@pytest.mark.parametrize("surfaces", [{}, {"a": {}}, {"a": {50: np.ones((3, 3))}}])
def test_surfaces_of_the_wrong_shape_are_refused(surfaces):
    with pytest.raises(ValueError, match="surfaces"):
        plot_attainment(surfaces)
