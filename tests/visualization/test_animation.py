import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from evogen.visualization.animation import closing_limits, find_ffmpeg, save_animation


def generations(n_obj, n=6):
    """Populations that shrink towards the unit simplex."""
    rng = np.random.default_rng(0)
    target = rng.dirichlet(np.ones(n_obj), 20)
    return [target + (n - 1 - g) * rng.random((20, n_obj)) for g in range(n)]


def color_count(frame, color):
    pixels = np.asarray(frame.convert("RGB"), dtype=int)
    return int((np.abs(pixels - color).sum(axis=2) < 40).sum())


@pytest.mark.parametrize("n_obj", [2, 3, 5])
def test_a_gif_shows_every_generation(tmp_path, n_obj):
    f = generations(n_obj)
    fronts = [p[:3] for p in f]
    path = save_animation(f, tmp_path / "a.gif", fronts=fronts, true_front=f[-1], title="t")
    with Image.open(path) as film:
        assert film.n_frames == 6
        assert film.info["loop"] == 0
        assert film.size == (572, 528)
        pictures = []
        for k in range(6):
            film.seek(k)
            pictures.append(film.convert("RGB"))
            assert pictures[-1].getpixel((3, 3)) == (255, 255, 255)
            assert color_count(pictures[-1], (86, 180, 233)) > 20  # population
            assert color_count(pictures[-1], (213, 94, 0)) > 20  # best
            assert color_count(pictures[-1], (154, 154, 154)) > 20  # true front
    assert np.asarray(pictures[0]).tobytes() != np.asarray(pictures[-1]).tobytes()


def test_the_same_film_has_the_same_bytes(tmp_path):
    films = [save_animation(generations(2), tmp_path / f"{k}.gif") for k in range(2)]
    assert films[0].read_bytes() == films[1].read_bytes()


def test_long_runs_are_thinned_from_the_first_to_the_last(tmp_path):
    f = generations(2, n=40)
    captions = [f"c{g}" for g in range(40)]
    path = save_animation(f, tmp_path / "a.gif", max_frames=5, captions=captions, fps=10)
    with Image.open(path) as film:
        assert film.n_frames == 5
        assert film.info["duration"] == 100
        film.seek(4)
        assert film.info["duration"] == 2000


def test_empty_generations_and_values_that_are_not_finite_are_drawn_as_nothing(tmp_path):
    f = [np.empty((0, 2)), np.array([[np.nan, 1.0], [0.5, np.inf]]), np.array([[0.5, 0.5]])]
    with Image.open(save_animation(f, tmp_path / "a.gif")) as film:
        assert film.n_frames == 3


def test_axes_hold_all_that_is_to_come_and_never_open():
    f = generations(3)
    limits = closing_limits(f, [p[:5] for p in f], None)
    assert (np.diff(limits[..., 0], axis=0) >= 0).all()
    assert (np.diff(limits[..., 1], axis=0) <= 0).all()
    for g, population in enumerate(f):
        assert (population[:5] >= limits[g, :, 0]).all()
        assert (population[:5] <= limits[g, :, 1]).all()
        for later in f[g:]:
            inside = (later <= limits[g, :, 1]).mean(axis=0)
            assert (inside >= 0.85).all()


def test_a_film_for_players_shows_what_the_gif_shows(tmp_path):
    f = generations(2)
    film = save_animation(f, tmp_path / "a.mp4", fps=10)
    assert film.read_bytes()[4:8] == b"ftyp"
    with Image.open(save_animation(f, tmp_path / "a.gif", fps=10)) as gif:
        shown = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            shown.append(np.asarray(gif.convert("RGB"), dtype=float))
    command = [find_ffmpeg(), "-loglevel", "error", "-i", film, "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    height, width = (size + size % 2 for size in shown[0].shape[:2])
    frames = np.frombuffer(raw.stdout, dtype=np.uint8).reshape(-1, height, width, 3)
    # The last one stays for two seconds.
    assert len(frames) == len(f) + 20
    for frame, same in ((0, shown[0]), (len(f) - 1, shown[-1]), (-1, shown[-1])):
        image = frames[frame, : same.shape[0], : same.shape[1]].astype(float)
        other = shown[-1] if frame == 0 else shown[0]
        assert np.abs(image - same).mean() < 0.5 * np.abs(image - other).mean()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"populations": []}, "populations is empty"),
        ({"populations": [np.zeros((3, 1))]}, "2 objectives or more"),
        ({"populations": [np.zeros(3)]}, "2 objectives or more"),
        ({"populations": [np.zeros((3, 2)), np.zeros((3, 3))]}, "one of each for a generation"),
        ({"fronts": [np.zeros((1, 2))]}, r"fronts \(1\)"),
        ({"true_front": np.zeros((2, 3))}, "true_front must be"),
        ({"objectives": ["a"]}, "must be 2 names"),
        ({"captions": ["a"]}, "1 captions for 6 generations"),
        ({"fps": 0}, "must be positive"),
        ({"path": "a.avi"}, "must end in .gif or .mp4"),
    ],
)
def test_bad_input_is_refused(tmp_path, change, text):
    given = {"populations": generations(2), "path": "a.gif"} | change
    given["path"] = tmp_path / given["path"]
    with pytest.raises(ValueError, match=text):
        save_animation(**given)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_an_mp4_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r"needs the program ffmpeg.*evogen\[film\]"):
        save_animation(generations(2), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
