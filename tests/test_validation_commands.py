"""`python -m validation run|sweep|compare|report|list`, from a file to a page."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from validation.__main__ import main
from validation.experiments import cells, find_experiment
from validation.staged_experiments import is_staged, read_staged

ROOT = Path(__file__).parent.parent
SMALL = """
name = "small"
engine = "ensemble"

[model]
name = "quadratic"
dtype = "float64"

[data]
name = "power_law"
[data.options]
examples = 32
features = 3
exponent = 1.0
noise = 1.0

[sampler]
name = "with_replacement"
batch_size = 8

[optimizer]
learning_rate = 0.3
momentum = 0.5

[record]
updates = 64
burn_in = 128
replicas = 64
lags = [1, 3, 7]
"""
SWEEP = '[sweep]\n"sampler.name" = ["with_replacement", "epochs"]\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL + SWEEP)
    return path


def command(*arguments):
    return main([*map(str, arguments)])


def test_from_a_file_to_a_page(file, tmp_path, capsys):
    """The chance that a true theory is rejected is 1 % in each of two tables."""
    runs, output = tmp_path / "runs", tmp_path / "report"
    command("sweep", file, "--root", runs, "--workers", 1)
    assert "2 cells done, 0 complete before, 0 failed." in capsys.readouterr().out
    command("list", "--root", runs)
    assert capsys.readouterr().out.count(" complete ") == 2
    command("report", file, "--root", runs, "--output", output)
    shown = capsys.readouterr().out
    assert "every observable: discrete, multiplicative" in shown
    assert "every observable: epochs" in shown
    page = (output / "index.html").read_text()
    assert "Kühn and Rosenow" in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)
    with (output / "verdicts.csv").open() as opened:
        table = list(csv.DictReader(opened))
    assert len(table) == 2 * 9
    with (output / "rows.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == sum(int(line["rows"]) for line in table)
    command("sweep", file, "--root", runs, "--workers", 1)
    assert "0 cells done, 2 complete before, 0 failed." in capsys.readouterr().out


def test_limits_have_a_table_of_their_own(tmp_path):
    """The mean of the steepest direction, h = 1, is stable up to 2(1 + β)."""
    path, runs = tmp_path / "limit.toml", tmp_path / "runs"
    path.write_text(SMALL.replace('engine = "ensemble"', 'engine = "stability"'))
    command("run", path, "--root", runs)
    command("report", path, "--root", runs, "--output", tmp_path)
    with (tmp_path / "limits.csv").open() as opened:
        (row,) = csv.DictReader(opened)
    assert row["discrete"] == row["multiplicative"] == "3.0000"
    assert row["paper"] == row["overdamped"] == "inf"
    assert abs(float(row["measured η"]) - 3) < 4 * float(row["error"]) < 0.01
    assert "The largest learning rate" in (tmp_path / "index.html").read_text()


def test_a_run_is_performed_once(file, tmp_path, capsys):
    runs = tmp_path / "runs"
    command("run", file, "--root", runs)
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    first = (folder / "averages.safetensors").stat().st_mtime_ns
    command("run", file, "--root", runs)
    assert (folder / "averages.safetensors").stat().st_mtime_ns == first
    command("compare", file, "--root", runs)
    shown = capsys.readouterr().out
    assert "1 cells are not complete and were left out." in shown


def test_a_damaged_run_is_refused_by_name(file, tmp_path, capsys):
    runs = tmp_path / "runs"
    command("run", file, "--root", runs)
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    averages = folder / "averages.safetensors"
    whole = averages.read_bytes()
    for damaged in (whole[:100], whole[:-1] + bytes([whole[-1] ^ 1])):
        averages.write_bytes(damaged)
        with pytest.raises(SystemExit, match=r"averages.safetensors .*Delete the folder"):
            command("compare", file, "--root", runs)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SMALL.replace("momentum = 0.5", "momentum = 1.0"), r"optimizer.momentum = 1.0"),
        (SMALL + "\n[stray]\n", "stray"),
        (SMALL.replace('engine = "ensemble"', 'engine = "torch"'), "quadratic"),
    ],
)
def test_what_a_user_can_mend_is_one_paragraph(text, told, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(SystemExit, match=told) as caught:
        command("run", path, "--root", tmp_path / "runs")
    assert "Traceback" not in str(caught.value)


def test_nothing_to_compare_says_what_to_do(file, tmp_path):
    with pytest.raises(SystemExit, match="Perform them by `python -m validation sweep`"):
        command("compare", file, "--root", tmp_path)


def test_every_experiment_of_the_project_declares_cells_that_differ():
    for path in sorted((ROOT / "experiments").glob("*.toml")):
        assert find_experiment(path.stem) == path
        if is_staged(path):
            assert read_staged(path).settings
            with pytest.raises(ValueError, match="declares stages, which"):
                cells(path)
            continue
        declared = cells(path)
        assert len({cell.folder for cell in declared}) == len(declared) > 0
    with pytest.raises(ValueError, match=r"none of .*referee.*stability"):
        find_experiment("nothing")


def test_the_referee_tries_sixty_settings_up_to_nine_tenths_of_the_limit():
    settings = {
        (cell.experiment.optimizer, cell.experiment.sampler.batch_size)
        for cell in cells(find_experiment("referee"))
    }
    assert len(settings) >= 60
    shares = [optimizer.learning_rate / (2 * (1 + optimizer.momentum)) for optimizer, _ in settings]
    assert min(shares) == pytest.approx(0.01)
    assert max(shares) == pytest.approx(0.9)


def test_help_names_every_command():
    done = subprocess.run(
        [sys.executable, "-m", "validation", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    for name in ("run", "sweep", "compare", "report", "list", "linear", "published"):
        assert name in done.stdout
