"""Which packages are missing, the line that installs them, and what an installation leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.system import installation, packages


def installed(root: Path, *programs: str) -> Path:
    for program in programs:
        path = root / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    return root


def test_a_bare_machine_lacks_all(tmp_path: Path) -> None:
    assert packages.line(packages.missing(tmp_path)) == (
        "apt-get install --yes --no-install-recommends postgresql redis-server rabbitmq-server "
        "munge slurmctld slurmd slurm-client"
    )


def test_only_what_is_missing_is_named(tmp_path: Path) -> None:
    root = installed(tmp_path, "usr/lib/postgresql/15/bin/postgres", "usr/bin/redis-server")
    assert packages.line(packages.missing(root)) == (
        "apt-get install --yes --no-install-recommends rabbitmq-server munge slurmctld slurmd "
        "slurm-client"
    )
    slurm = ("usr/sbin/munged", "usr/sbin/slurmctld", "usr/sbin/slurmd", "usr/bin/squeue")
    installed(root, "usr/lib/rabbitmq/bin/rabbitmq-server", *slurm)
    assert packages.missing(root) == []


def test_a_program_that_nobody_may_run_is_missing(tmp_path: Path) -> None:
    installed(tmp_path, "usr/bin/redis-server")
    (tmp_path / "usr/bin/redis-server").chmod(0o644)
    assert packages.REDIS in packages.missing(tmp_path)


def test_the_newest_postgresql_is_used(tmp_path: Path) -> None:
    versions = [f"usr/lib/postgresql/{version}/bin/postgres" for version in (9, 17, 15)]
    found = packages.POSTGRESQL.found(installed(tmp_path, *versions))
    assert found == tmp_path / versions[1]


def test_a_missing_package_is_an_error_with_its_line() -> None:
    absent = packages.Package(name="absent", program="usr/bin/no-such-server")
    with pytest.raises(packages.PackageMissing, match=r"apt-get install .* absent$"):
        absent.find()


def test_the_command_says_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert packages.main([], root=tmp_path) == 1
    said = capsys.readouterr().err
    assert said.endswith(f"{packages.line(packages.ALL)}\n")
    everything = (package.program.replace("*", "15") for package in packages.ALL)
    assert packages.main([], root=installed(tmp_path, *everything)) == 0
    assert capsys.readouterr().err == ""


def test_only_root_installs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert packages.main(["--install"], root=tmp_path, uid=1000) == 1
    assert "Only root can install packages" in capsys.readouterr().err


def test_nothing_may_start_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "usr/sbin/policy-rc.d"
    clusters = tmp_path / "etc/postgresql-common/createcluster.d"
    with installation.quiet(tmp_path):
        assert policy.read_text().endswith("exit 101\n")
        assert policy.stat().st_mode & 0o777 == 0o755
        (settings,) = clusters.iterdir()
        assert "create_main_cluster = false" in settings.read_text()
    assert list(tmp_path.rglob("*")) == []


def test_the_operator_s_own_policy_is_put_back(tmp_path: Path) -> None:
    policy = tmp_path / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o711)
    with pytest.raises(RuntimeError, match="mirror"), installation.quiet(tmp_path):
        raise RuntimeError("the mirror is away")
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert policy.stat().st_mode & 0o777 == 0o711
    assert list(policy.parent.iterdir()) == [policy]


def test_what_a_killed_installation_left_is_removed(tmp_path: Path) -> None:
    policy = tmp_path / "usr/sbin/policy-rc.d"
    with installation.quiet(tmp_path):
        left = policy.read_text()
    policy.parent.mkdir(parents=True)
    policy.write_text(left)
    with installation.quiet(tmp_path):
        assert policy.read_text() == left
    assert list(tmp_path.rglob("policy-rc.d*")) == []


def test_services_do_not_start_with_the_machine(tmp_path: Path) -> None:
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    before, other, added = (wants / f"{name}.service" for name in ("before", "other", "added"))
    before.symlink_to("/lib/systemd/system/before.service")
    with installation.not_enabled(["before.service", "added.service"], tmp_path):
        other.symlink_to("/lib/systemd/system/other.service")
        added.symlink_to("/lib/systemd/system/added.service")
    assert set(wants.iterdir()) == {before, other}
