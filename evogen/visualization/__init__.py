"""Figures from arrays: fronts, convergence, operator shares, designs asked for."""

from evogen.visualization.asked import plot_asked
from evogen.visualization.convergence import plot_convergence
from evogen.visualization.fronts import plot_front, plot_fronts
from evogen.visualization.shares import plot_shares
from evogen.visualization.style import check_figure_path, save_figure

__all__ = [
    "check_figure_path",
    "plot_asked",
    "plot_convergence",
    "plot_front",
    "plot_fronts",
    "plot_shares",
    "save_figure",
]
