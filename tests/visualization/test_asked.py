import numpy as np
import pytest

from evogen.visualization.asked import plot_asked

F = np.column_stack([np.linspace(0, 1, 9), 1 - np.linspace(0, 1, 9)])


def test_a_row_for_each_problem_and_a_panel_for_each_method_and_their_errors():
    far = np.add(F, [[0.0, 50.0]])
    figure = plot_asked(
        {"a": (F, {"ask": F, "near": far}, F), "b": (F, {"ask": F, "near": F}, None)}
    )
    assert len(figure.axes) == 6
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["a: ask", "a: near", "a: share of designs"]
    errors = figure.axes[2].get_lines()
    assert errors[0].get_xdata().max() < 1e-6
    assert errors[1].get_xdata() == pytest.approx(np.full(9, 50.0))
    # Points far off stay in the picture, at its edge.
    drawn = np.concatenate([c.get_offsets() for c in figure.axes[1].collections])
    assert drawn[:, 1].max() < 2


@pytest.mark.parametrize(
    ("panels", "words"),
    [
        ({}, "panels is empty"),
        ({"a": (F, {"ask": F[:3]}, None)}, r"must be \(n, 2\)"),
        ({"a": (F, {"ask": F}, None), "b": (F, {"near": F}, None)}, "not \\['ask'\\]"),
    ],
)
def test_what_does_not_fit_together_is_refused(panels, words):
    with pytest.raises(ValueError, match=words):
        plot_asked(panels)
