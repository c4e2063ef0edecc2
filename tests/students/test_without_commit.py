import subprocess

import pytest

from dskd.errors import UserError
from dskd.students.train import _curves


def test_a_repository_without_a_commit_is_one_line_before_the_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    with pytest.raises(UserError, match=r"wants a commit of this Git repository.*run `git commit`, and run again"):
        _curves(tmp_path / "curves")
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *name, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    with _curves(tmp_path / "curves") as live:
        live.log_metric("kl", 1.0)
    assert (tmp_path / "curves/plots/metrics/kl.tsv").exists()
