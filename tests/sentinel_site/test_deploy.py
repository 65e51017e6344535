"""The files of docs/deploy/: whether they are well-formed, and speak of what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from accounts.errors import Code
from sentinel_site.metrics import read_readers

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "docs/deploy"
NAME = "sentinel.example.org"
# Of others: systemd's, Django's, Docker's and Kubernetes' own.
FOREIGN = {"TMPDIR", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "POD_IP"}


def _settings() -> set[str]:
    rows = [line for line in (ROOT / "docs/settings.md").read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall("`([A-Z_]+)`", row.split("|")[1])}


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def _set_in_units() -> set[str]:
    text = "".join(unit.read_text() for unit in sorted((DEPLOY / "systemd").iterdir()))
    return {pair.partition("=")[0] for line in re.findall("^Environment=(.*)$", text, re.M) for pair in line.split()}


def _set_in_kubernetes() -> set[str]:
    found: set[str] = set()
    for document in _documents("kubernetes/sentinel.yaml"):
        found |= set(document.get("data", {}))
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        found |= {each["name"] for container in pod.get("containers", ()) for each in container.get("env", ())}
    said = (DEPLOY / "kubernetes/sentinel.yaml").read_text().partition("apiVersion")[0]
    return found | set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", said)) - {"SENTINEL_SIGNING_KEY"}


def _set_in_compose() -> set[str]:
    services = _documents("compose/compose.yaml")[0]["services"]
    return {name for service in ("web", "worker") for name in services[service]["environment"]}


def _set_in_env_file() -> set[str]:
    return set(re.findall("^([A-Z_]+)=", (DEPLOY / "sentinel.env").read_text(), re.M))


@pytest.mark.parametrize("found", [_set_in_units, _set_in_kubernetes, _set_in_compose, _set_in_env_file])
def test_every_variable_that_is_set_there_exists(found: Any) -> None:
    names = found()
    assert names
    assert names - FOREIGN - _settings() == set()


def test_the_file_of_settings_reads_the_same_for_systemd_and_for_a_shell() -> None:
    for line in (DEPLOY / "sentinel.env").read_text().splitlines():
        assert line == "" or line.startswith("#") or re.fullmatch(r'[A-Z_]+="[^"$`\\]*"', line), line


def test_everything_that_is_copied_in_the_guide_is_there() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    named = re.findall(r"(?:/opt/sentinel/|\s)(docs/deploy/[\w./@-]+)", guide)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
    for script in ("sentinel-manage", "compose/entrypoint"):
        assert (DEPLOY / script).stat().st_mode & 0o111


def test_alerts_ask_for_figures_that_there_are() -> None:
    measured = (ROOT / "sentinel_site/measures.py").read_text()
    # Names that are put together there.
    measured += "sentinel_queue_waiting sentinel_queue_running sentinel_queue_oldest_seconds"
    rules = _documents("prometheus/alerts.yml")[0]["groups"][0]["rules"]
    assert rules
    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} == set(rule)
        for name in re.findall(r"\bsentinel_\w+", rule["expr"]):
            assert name in measured, name
        for pattern in re.findall(r'\b(?:error|result)=~"([^"]+)"', rule["expr"]):
            assert set(pattern.split("|")) <= set(Code), pattern
    guide = (ROOT / "docs/operations.md").read_text()
    assert [rule["alert"] for rule in rules if rule["alert"] not in guide] == []


def test_web_processes_are_started_alike_everywhere() -> None:
    def arguments(file: Path) -> list[str]:
        text = file.read_text().replace("\\\n", " ")
        line = next(line for line in text.splitlines() if "-m uvicorn" in line)
        words = line.partition("-m uvicorn")[2].replace(";;", "").split()
        # Where it listens, and how long it may take to end, is each one's own.
        own = {"--host", "--port", "--timeout-graceful-shutdown"}
        return [word for before, word in zip(["", *words], words, strict=False) if before not in own]

    everywhere = [
        arguments(file)
        for file in (
            ROOT / "supervisord.conf",
            DEPLOY / "systemd/sentinel-web@.service",
            DEPLOY / "compose/entrypoint",
        )
    ]
    assert everywhere[0] == everywhere[1] == everywhere[2]


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx-light")
def test_nginx_understands_its_file(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "1",
            ),
            *("-subj", f"/CN={NAME}", "-keyout", tmp_path / "privkey.pem", "-out", tmp_path / "fullchain.pem"),
        ],
        check=True,
        capture_output=True,
    )
    site = (DEPLOY / "nginx/sentinel.conf").read_text()
    site = site.replace("/etc/sentinel/tls", str(tmp_path)).replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {site} }}"
    )
    tried = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "[warn]" not in tried.stderr


def test_no_way_through_nginx_passes_on_the_callers_own_word() -> None:
    site = (DEPLOY / "nginx/sentinel.conf").read_text()
    locations = re.findall(r"^    location (\S.*?) {\n(.*?)^    }", site, re.M | re.S)
    everywhere = set(re.findall(r"^    proxy_set_header (\S+)", site, re.M))
    assert {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "traceparent"} <= everywhere
    for name, content in locations:
        # nginx takes those of the server only where a location sets none.
        own = set(re.findall(r"proxy_set_header (\S+)", content))
        assert not own or everywhere <= own, name
    assert any("Upgrade" in content for _name, content in locations)


def test_units_wait_for_media_and_outlive_a_decoder() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    mounted = re.search(r"^echo \"10\.20\.0\.1:\S+ (\S+) nfs4", guide, re.M)
    assert mounted is not None
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        text = unit.read_text()
        # Without it, a worker that starts before its mount finds that every file is missing.
        assert f"RequiresMountsFor={mounted[1]}\n" in text, unit.name
        # systemd would stop the whole service for one process that the kernel killed.
        assert "MemoryMax" not in text or "run_twitterbot" in text or "OOMPolicy=continue\n" in text, unit.name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    units = []
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        # What they start need not be installed here.
        text = re.sub("^ExecStart=.*$", "ExecStart=/bin/true", unit.read_text(), flags=re.M)
        units.append(tmp_path / unit.name.replace("@.", "@8001."))
        units[-1].write_text(text)
    tried = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "Unknown" not in tried.stderr, tried.stderr


def test_the_parts_for_kubernetes_fit_together() -> None:
    documents = _documents("kubernetes/sentinel.yaml")
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    for document in documents:
        assert document["metadata"]["namespace"] == "sentinel"
    for kind, name in list(by_name):
        if kind == "Deployment":
            spec = by_name[kind, name]["spec"]
            assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
            (container,) = spec["template"]["spec"]["containers"]
            volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert "livenessProbe" in container
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for found, name in by_name:
            if found == kind:
                target = by_name[found, name]["spec"]["scaleTargetRef"]["name"]
                assert ("Deployment", target) in by_name


def test_every_place_of_nginx_says_who_asks() -> None:
    """Of headers, nginx takes over none from outside a place that has some of its own: a caller could make them up."""
    site = (DEPLOY / "nginx/sentinel.conf").read_text()
    places = re.findall(r"\n    location [^{]+\{(.*?)\n    \}", site, re.DOTALL)
    outside = re.sub(r"\n    location [^{]+\{.*?\n    \}", "", site, flags=re.DOTALL)
    wanted = set(re.findall(r"proxy_set_header (.+);", outside)) - {'Connection ""'}
    assert {"Host $host", "X-Forwarded-For $remote_addr", "X-Request-ID $request_id"} <= wanted
    own = [place for place in places if "proxy_set_header" in place]
    assert own
    for place in own:
        assert wanted <= set(re.findall(r"proxy_set_header (.+);", place))


def test_prometheus_may_ask_each_pod_by_its_address(settings: Any) -> None:
    web = next(each for each in _documents("kubernetes/sentinel.yaml") if each["metadata"]["name"] == "sentinel-web")
    given = {each["name"]: each for each in web["spec"]["template"]["spec"]["containers"][0]["env"]}
    # Only variables that stand before it are put in.
    assert list(given) == ["POD_IP", "ALLOWED_HOSTS"]
    assert given["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    settings.SENTINEL_METRICS = read_readers(["token"], "a token of sixteen letters or more")
    settings.ALLOWED_HOSTS = given["ALLOWED_HOSTS"]["value"].replace("$(POD_IP)", "10.1.2.3").split(",")
    for host, status in (("10.1.2.3:8000", 200), ("localhost", 200), ("10.1.2.4:8000", 400)):
        answer = Client().get(
            "/metrics", headers={"Host": host, "Authorization": "Bearer a token of sixteen letters or more"}
        )
        assert answer.status_code == status, host


def test_workers_in_containers_vouch_for_nobody_else() -> None:
    parts = _documents("compose/compose.yaml")[0]
    # worker_health goes by a file in the data folder: a volume with a name would be that of all workers.
    assert parts["services"]["worker"]["volumes"] == ["/var/lib/sentinel"]
    assert "worker" not in parts["volumes"]
    # By its socket PostgreSQL answers already while its image sets it up.
    assert "-h 127.0.0.1" in parts["services"]["postgres"]["healthcheck"]["test"][1]


def test_no_image_takes_along_what_a_site_in_this_folder_wrote() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    # Keys, files of people and settings; a virtual environment; the history.
    assert {"var", "**/.env", ".venv", ".git", "build"} <= set(ignored)
    assert "COPY . ." in (DEPLOY / "compose/Dockerfile").read_text()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
