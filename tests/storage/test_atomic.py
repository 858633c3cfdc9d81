"""A file is written whole or not at all."""

import errno
import os
import stat
import sys

import numpy as np
import pytest
from kills import kill_writers

from structlin import storage

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions and links of POSIX")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tree.slin"
    storage.save(path, ["old"])
    return path


def unchanged(path):
    return storage.load(path) == ["old"] and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("step", ["replace", "fsync", "open"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_at_any_step_leaves_the_old_file(path, monkeypatch, step, error):
    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(type(error)) as caught:
            storage.save(path, ["new"])
    if isinstance(error, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert unchanged(path)


@posix
def test_a_disk_that_fills_up_leaves_the_old_file(path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"tree\.slin"):
            storage.save(path, np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert unchanged(path)


def test_a_tree_that_cannot_be_written_leaves_the_old_file(path):
    with pytest.raises(TypeError):
        storage.save(path, [np.zeros(3), object()])
    assert unchanged(path)


def test_places_that_cannot_be_written_are_named(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        storage.save(tmp_path / "nowhere" / "a.slin", [])
    with pytest.raises(NotADirectoryError, match=r"tree\.slin"):
        storage.save(path / "a.slin", [])
    with pytest.raises(IsADirectoryError, match="name of a file"):
        storage.save(tmp_path, [])
    assert unchanged(path)


@posix
def test_permissions_follow_the_umask(tmp_path):
    for mask, mode in [(0o027, 0o640), (0o022, 0o644), (0o077, 0o600)]:
        before = os.umask(mask)
        try:
            storage.save(tmp_path / "a.slin", [])
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.slin").stat().st_mode) == mode


@posix
def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    storage.save(link, ["new"])
    assert link.is_symlink()
    assert storage.load(path) == ["new"]


def test_saving_replaces_and_gives_the_same_bytes(path):
    tree = {"b": np.ones(3, np.float32), "a": np.zeros(2, np.int8)}
    storage.save(path, tree, {"x": 1, "y": 2})
    first = path.read_bytes()
    storage.save(path, tree, {"x": 1, "y": 2})
    assert path.read_bytes() == first


@posix
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    assert 0 <= kill_writers(4, 1, tmp_path) <= 4
