"""How a result came about: the commit is this project's, or none."""

import subprocess

from dskd.infra.provenance import commit


def git(folder, *arguments):
    own = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    return subprocess.check_output(["git", *own, *arguments], cwd=folder, text=True).strip()


def test_the_commit_is_that_of_the_project_and_not_of_a_repository_around_it(tmp_path):
    project = tmp_path / "unpacked"  # as a tarball, in somebody's repository
    project.mkdir()
    (project / "dvc.yaml").write_text("stages: {}\n")
    assert commit(project) is None
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "of something else")
    assert commit(project) is None
    git(tmp_path, "add", "unpacked/dvc.yaml")
    git(tmp_path, "commit", "--quiet", "-m", "now it is a part")
    assert commit(project) == git(tmp_path, "rev-parse", "HEAD")
    (project / "dvc.yaml").write_text("stages: {a: {cmd: a}}\n")
    assert commit(project).endswith("-dirty")
