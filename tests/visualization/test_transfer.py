"""Figures of what tasks gave to each other."""

import numpy as np
import pytest

from evogen.visualization import plot_transfer, plot_transfer_matrix


def test_every_task_has_a_panel_and_every_operator_a_band():
    shares = np.full((6, 2, 3), 1 / 3)
    figure = plot_transfer(np.arange(6) * 100, shares, ["a", "b", "c"], ["one", "two"], title="t")
    assert len(figure.axes) == 2
    for axes, name in zip(figure.axes, ["one", "two"], strict=True):
        assert axes.get_ylabel() == name
        assert len(axes.collections) == 3
        assert axes.get_xlim() == (0.0, 500.0)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert sorted(labels) == ["a", "b", "c"]


def test_a_task_that_rested_leaves_a_gap():
    shares = np.full((4, 1, 2), 0.5)
    shares[2] = np.nan
    figure = plot_transfer(np.arange(4), shares, ["a", "b"], ["one"])
    for band in figure.axes[0].collections:
        drawn = np.concatenate([path.vertices[:, 0] for path in band.get_paths()])
        assert set(drawn) == {0.0, 1.0, 3.0}


def test_matrices_share_one_scale_and_blank_what_is_not_known():
    first = np.array([[np.nan, 0.1], [0.2, np.nan]])
    figure = plot_transfer_matrix([first, 4 * first], ["x", "y"], labels=["early", "late"])
    images = [axes.images[0] for axes in figure.axes[:2]]
    assert {image.get_clim() for image in images} == {(0.0, 0.8)}
    assert images[0].get_array().mask.tolist() == [[True, False], [False, True]]
    assert figure.axes[1].get_title() == "late"


@pytest.mark.parametrize(
    "call",
    [
        lambda: plot_transfer(np.arange(3), np.ones((3, 2, 2)), ["a"], ["one", "two"]),
        lambda: plot_transfer([], np.ones((0, 1, 1)), ["a"], ["one"]),
        lambda: plot_transfer_matrix([], ["x"]),
        lambda: plot_transfer_matrix([np.ones((2, 2))], ["x"]),
        lambda: plot_transfer_matrix([np.ones((1, 1))], ["x"], labels=["a", "b"]),
    ],
)
def test_shapes_that_do_not_match_are_refused(call):
    with pytest.raises(ValueError, match=r"shape|match|labels"):
        call()
