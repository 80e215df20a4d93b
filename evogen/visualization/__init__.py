"""Figures from arrays: fronts, convergence, operator shares, designs asked for, comparisons."""

from evogen.visualization.animation import check_animation_path, save_animation
from evogen.visualization.asked import plot_asked
from evogen.visualization.attainment import plot_attainment
from evogen.visualization.convergence import plot_convergence
from evogen.visualization.fronts import plot_front, plot_fronts
from evogen.visualization.ranks import plot_ranks
from evogen.visualization.shares import plot_shares
from evogen.visualization.steps import plot_steps
from evogen.visualization.style import check_figure_path, save_figure
from evogen.visualization.transfer import plot_transfer, plot_transfer_matrix

__all__ = [
    "check_animation_path",
    "check_figure_path",
    "plot_asked",
    "plot_attainment",
    "plot_convergence",
    "plot_front",
    "plot_fronts",
    "plot_ranks",
    "plot_shares",
    "plot_transfer",
    "plot_transfer_matrix",
    "plot_steps",
    "save_animation",
    "save_figure",
]
