from thinlens.bench import machine


def test_the_host_is_told_with_the_commit_of_the_checkout():
    host = machine.describe_host()
    assert host.processor
    assert host.cpus >= 1
    assert host.commit is None or len(host.commit.removesuffix("-dirty")) >= 12


def test_an_installed_package_has_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(machine.thinlens, "__file__", str(tmp_path / "a" / "b" / "__init__.py"))
    assert machine.describe_host().commit is None


def test_a_probe_measures_something():
    probe = machine.probe()
    assert min(probe.add_ns, probe.memset_us, probe.sgemm_gflops) > 0
    assert probe.add_spread >= 1
