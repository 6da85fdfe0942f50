"""Pictures: what is drawn is read back from the axes."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

import sgdtheory as sgd
from sgdtheory.plotting import plot_spectrum

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_line_counts_directions_from_above():
    axes = plot_spectrum(sgd.Spectrum([1.0, 10.0, 1.0, 0.1], counts=[2, 1, 3, 4]))
    x, y = axes.lines[0].get_data()
    assert x.tolist() == [0.1, 1.0, 10.0]
    assert y.tolist() == [10.0, 6.0, 1.0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    # Drawn so that the height above x counts eigenvalues ≥ x.
    assert axes.lines[0].get_drawstyle() == "steps-pre"


def test_it_draws_where_it_is_told():
    _, mine = plt.subplots()
    assert plot_spectrum(sgd.Spectrum([1.0]), mine, label="one") is mine
    plot_spectrum(sgd.Spectrum([2.0]), mine, label="two")
    assert [text.get_text() for text in mine.get_legend().get_texts()] == ["one", "two"]
    assert mine.lines[0].get_color() != mine.lines[1].get_color()


def test_negative_eigenvalues_are_a_line_of_their_own_and_zeros_are_counted():
    rho = [1.0, -0.5, -0.25, 0.0, 0.0]
    spectrum = sgd.Spectrum.from_hessian_eigenvalues(rho, negative="drift")
    axes = plot_spectrum(spectrum)
    below = axes.lines[1]
    assert below.get_linestyle() == "--"
    assert np.array_equal(below.get_data(), [[0.25, 0.5], [2.0, 1.0]])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["negative, by size", "2 at 0, not shown"]


def test_what_cannot_be_shown_is_refused():
    rho = np.concatenate([0.5 + 1e-9 * np.arange(1000), [1.0]])
    with pytest.raises(ValueError, match="negative counts"):
        plot_spectrum(sgd.Spectrum(rho).compress(1e-6, momentum=0.5))
    with pytest.raises(ValueError, match="all are 0"):
        plot_spectrum(sgd.Spectrum([0.0]))
    with pytest.raises(ValueError, match=r"spectrum = \[1\.0\]"):
        plot_spectrum([1.0])


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    kept = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return kept(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"sgdtheory\[plot\]"):
        plot_spectrum(sgd.Spectrum([1.0]))
