"""The folder that a Galaxy of the tests works in: its configuration, and what its jobs find."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from xml.etree import ElementTree as ET

import yaml

import parfocal
from parfocal.omero.connection import PATIENCE_VARIABLE

__all__ = [
    "ADMIN",
    "BIN",
    "PARFOCAL",
    "ROOT",
    "SLURM_USER",
    "environment",
    "tool_files",
    "write",
    "write_tools",
]

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv/bin"
PARFOCAL = BIN / "parfocal"
ADMIN = "admin@example.org"
PROBES = Path(__file__).parent / "probes"
OWN_TOOLS = ("data_source/upload.xml",)
COLLECTION_TOOLS = ("filter_failed_collection.xml", "extract_dataset.xml", "build_list.xml")
COLLECTION_TOOLS += ("harmonize_two_collections_list_1.0.0.xml",)
SLURM_USER = "slurm@example.org"
SLURM = {"job_partition": "short", "job_ncpus": 1, "job_time": "00:10:00", "job_--mem": "2000"}
PLACES = {SLURM_USER: "slurm", ADMIN: "kept"}
RULE = f"""\
def by_user(user_email, tool_id):
    uploads = tool_id.startswith("__") or tool_id == "upload1"
    return "local" if uploads else {PLACES}.get(user_email, "local")
"""
BROKER = """\
from kombu.transport.sqlalchemy import Transport

class Prompt(Transport):
    # Not each second: an upload is four tasks, one after the other. An option for it would be
    # handed on to the database, which has none of that name.
    polling_interval = 0.25
"""
SHOWN_AS_THEY_ARE = ("parfocal_render_report",)
FOLDERS = ("data", "db", "files", "tmp", "jobs", "home", "shed_tools", "bin")


def tool_files() -> list[Path]:
    """Return the XML of each tool of the project."""
    candidates = sorted((ROOT / "galaxy_tools").glob("*/*.xml"))
    return [path for path in candidates if ET.parse(path).getroot().tag == "tool"]


def environment(folder: Path, galaxy_env: Path) -> dict[str, str]:
    """Return the environment of Galaxy's processes, in which nothing leads to ours.

    Programs in the folder's ``bin`` come first.
    """
    path = [folder / "bin", galaxy_env / "bin", "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": ":".join(map(str, path)),
        "VIRTUAL_ENV": str(galaxy_env),
        "PYTHONPATH": str(folder / "rules"),
        "GALAXY_CONFIG_FILE": str(folder / "galaxy.yml"),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
    }


def write(folder: Path, galaxy_env: Path, url: str) -> str:
    """Write the configuration of a new Galaxy.

    Parameters
    ----------
    folder : Path
        Where it works; anew unless a Galaxy has worked there before, which then goes on.
    galaxy_env : Path
        The environment that it runs in.
    url : str
        Where it will answer.

    Returns
    -------
    str
        The key of the administrator that needs no account.
    """
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = _kept(folder / "bootstrap.key", secrets.token_hex(16))
    _yaml(folder / "galaxy.yml", {"galaxy": _galaxy(folder, url, key)})
    _yaml(folder / "job_conf.yml", _jobs())
    vault_key = _kept(folder / "vault.key", base64.urlsafe_b64encode(os.urandom(32)).decode())
    vault = {"type": "database", "path_prefix": "/galaxy", "encryption_keys": [vault_key]}
    _yaml(folder / "vault_conf.yml", vault)
    write_tools(folder, galaxy_env)
    allowed = "".join(f"{tool}\n" for tool in SHOWN_AS_THEY_ARE)
    (folder / "sanitize_allowlist.txt").write_text(allowed, encoding="utf-8")
    (folder / "shed_tool_conf.xml").write_text(
        f'<toolbox tool_path="{folder}/shed_tools"/>\n', encoding="utf-8"
    )
    _write_dependencies(folder)
    _write_rules(folder)
    return key


def write_tools(folder: Path, galaxy_env: Path) -> None:
    """Write the list of tools: what Galaxy needs itself, our tools, and the probes."""
    (package,) = galaxy_env.glob("lib/python3.*/site-packages/galaxy/tools")
    own = [package / "bundled" / name for name in OWN_TOOLS]
    own += [package / name for name in COLLECTION_TOOLS]
    sections = {"Galaxy": own, "Parfocal": tool_files(), "Probes": _write_probes(folder)}
    toolbox = ET.Element("toolbox", monitor="false")
    for name, files in sections.items():
        section = ET.SubElement(toolbox, "section", id=name.lower(), name=name)
        for file in files:
            ET.SubElement(section, "tool", file=str(file))
    ET.indent(toolbox)
    ET.ElementTree(toolbox).write(folder / "tool_conf.xml", encoding="utf-8")


def _write_probes(folder: Path) -> list[Path]:
    """Write the tools that are none of the project's, for the version of Parfocal at hand."""
    (folder / "probes").mkdir(exist_ok=True)
    written = []
    for template in sorted(PROBES.glob("*.xml")):
        text = template.read_text(encoding="utf-8").replace("@PARFOCAL@", parfocal.__version__)
        written.append(folder / "probes" / template.name)
        written[-1].write_text(text, encoding="utf-8")
    return written


def _galaxy(folder: Path, url: str, key: str) -> dict[str, object]:
    return {
        "galaxy_infrastructure_url": url,
        "config_dir": str(folder),
        "data_dir": str(folder / "data"),
        "database_connection": f"sqlite:///{folder}/db/universe.sqlite?isolation_level=IMMEDIATE",
        "file_path": str(folder / "files"),
        "new_file_path": str(folder / "tmp"),
        "job_working_directory": str(folder / "jobs"),
        "tool_config_file": str(folder / "tool_conf.xml"),
        "shed_tool_config_file": str(folder / "shed_tool_conf.xml"),
        "job_config_file": str(folder / "job_conf.yml"),
        "dependency_resolvers_config_file": str(folder / "dependency_resolvers_conf.xml"),
        "tool_dependency_dir": str(folder / "deps"),
        "vault_config_file": str(folder / "vault_conf.yml"),
        "sanitize_allowlist_file": str(folder / "sanitize_allowlist.txt"),
        "admin_users": ADMIN,
        "bootstrap_admin_api_key": key,
        "id_secret": key,
        # There is no conda, and nothing is asked for on the internet.
        "conda_auto_init": False,
        "conda_auto_install": False,
        "enable_mulled_containers": False,
        "use_cached_dependency_manager": False,
        # What follows a job is done by a process that is up, not by a Python started for each.
        "enable_celery_tasks": True,
        "celery_conf": {
            # Not files: their broker reads what is only half written, and ends the worker.
            "broker_url": f"parfocalbroker.Prompt+sqlite:///{folder}/db/broker.sqlite",
            "result_backend": f"db+sqlite:///{folder}/db/results.sqlite",
        },
        "calculate_dataset_hash": "never",
        "check_upload_content": False,
        "allow_path_paste": True,
        "enable_beta_tool_formats": True,
        "expose_dataset_path": True,
        "watch_tools": "false",
        "cleanup_job": "onsuccess",  # what a failed job left can be looked at
        "job_handler_monitor_sleep": 0.3,
        "log_level": "INFO",
    }


def _jobs() -> dict[str, object]:
    """Return where jobs run.

    It is here; those of `SLURM_USER` run on the cluster of the tests, and those of `ADMIN` leave
    the folder they ran in, so that they can be measured.
    """
    cli = {"runner": "cli", "shell_plugin": "LocalShell", "job_plugin": "Slurm"}
    # The rule is found by way of a variable that must not reach a Python of ours.
    env = [{"execute": "unset PYTHONPATH"}, {"name": PATIENCE_VARIABLE, "value": "10"}]
    here = {
        "runner": "local",
        "require_container": False,
        "metadata_strategy": "directory_celery",
        "env": env,
    }
    return {
        "runners": {
            "local": {"load": "galaxy.jobs.runners.local:LocalJobRunner", "workers": 2},
            "cli": {"load": "galaxy.jobs.runners.cli:ShellJobRunner", "workers": 1},
            "dynamic": {"rules_module": "parfocal_rules"},
        },
        "execution": {
            "default": "by_user",
            "environments": {
                "by_user": {"runner": "dynamic", "type": "python", "function": "by_user"},
                "local": here,
                "kept": here | {"cleanup_job": "never"},
                "slurm": cli | SLURM | {"env": env},
            },
        },
    }


def _write_rules(folder: Path) -> None:
    """Write what decides where a job runs, and how tasks are handed over.

    Galaxy looks for the former in the modules of a package.
    """
    package = folder / "rules/parfocal_rules"
    package.mkdir(parents=True, exist_ok=True)
    (folder / "rules/parfocalbroker.py").write_text(BROKER, encoding="utf-8")
    (package / "__init__.py").touch()
    (package / "places.py").write_text(RULE, encoding="utf-8")


def _write_dependencies(folder: Path) -> None:
    """Let tools that require Parfocal in this version find its command, and nothing beside it."""
    programs = folder / "deps/parfocal" / parfocal.__version__ / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    link = programs / "parfocal"
    link.unlink(missing_ok=True)
    link.symlink_to(PARFOCAL)
    (folder / "dependency_resolvers_conf.xml").write_text(
        "<dependency_resolvers>\n"
        f'  <galaxy_packages base_path="{folder}/deps"/>\n'
        "</dependency_resolvers>\n",
        encoding="utf-8",
    )


def _kept(path: Path, new: str) -> str:
    """Return what a file holds, which is made with something new unless it is there."""
    if not path.exists():
        path.write_text(new, encoding="ascii")
    return path.read_text(encoding="ascii")


def _yaml(path: Path, content: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
