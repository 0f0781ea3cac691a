"""A history of a Galaxy, and the jobs that a user runs in it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tests.galaxy.server import Galaxy, instance

__all__ = ["History", "Job"]

JOB_TIMEOUT_S, REQUEST_TIMEOUT_S = 300, 60
ENDED = {"ok", "error", "deleted", "paused", "stopped", "failed", "failed_metadata"}


@dataclass(frozen=True)
class Job:
    """A job that has ended.

    Attributes
    ----------
    id : str
    state : str
        ``ok`` or ``error``, mostly.
    stdout, stderr : str
        What the tool wrote.
    exit_code : int or None
    outputs : dict of str to str
        The dataset of each output.
    """

    id: str
    state: str
    stdout: str
    stderr: str
    exit_code: int | None
    outputs: dict[str, str]


class History:
    """A new history of the user, or of the owner of another key; or one that is `known`."""

    def __init__(self, galaxy: Galaxy, name: str, key: str = "", known: str = "") -> None:
        self.api = instance(galaxy.url, key or galaxy.key)
        self.id = known or str(self.api.histories.create_history(name)["id"])
        self._admin = galaxy.as_admin

    def upload(self, path: Path, file_type: str, ends: str = "ok") -> str:
        """Upload a file and return its dataset, once it is there in the state that it `ends` in."""
        item = {"src": "files", "name": path.name, "ext": file_type}
        targets = [{"destination": {"type": "hdas"}, "items": [item]}]
        # Not by upload_file of bioblend, which leaves the file open.
        with path.open("rb") as file:
            answer = requests.post(
                f"{self.api.url}/tools/fetch",
                headers={"x-api-key": str(self.api.key)},
                data={"history_id": self.id, "targets": json.dumps(targets)},
                files={"files_0|file_data": file},
                timeout=REQUEST_TIMEOUT_S,
            )
        answer.raise_for_status()
        made = answer.json()
        dataset = str(made["outputs"][0]["id"])
        state = self._wait(self.api.datasets.show_dataset, dataset)["state"]
        assert state == ends, f"upload of {path.name}: {state}"
        return dataset

    def run(self, tool_id: str, inputs: dict[str, Any], login: Sequence[Any] = ()) -> Job:
        """Run a tool and wait until its job has ended.

        A dataset among the inputs is ``{"src": "hda", "id": ID}``; `login` is what is chosen under
        *Credentials*.
        """
        payload = {"history_id": self.id, "tool_id": tool_id, "inputs": inputs}
        chosen = {"credentials_context": list(login)} if login else {}
        made = self.api.make_post_request(f"{self.api.url}/tools", payload=payload | chosen)
        (begun,) = made["jobs"]
        ended = self._wait(lambda job: self.api.jobs.show_job(job, full_details=True), begun["id"])
        return Job(
            ended["id"],
            ended["state"],
            ended.get("tool_stdout") or "",
            ended.get("tool_stderr") or "",
            ended.get("exit_code"),
            {each["output_name"]: each["id"] for each in made["outputs"]},
        )

    def named(self, name: str) -> str:
        """Return the one dataset of that name, hidden or not."""
        every = self.api.histories.show_history(self.id, contents=True)
        (found,) = [str(each["id"]) for each in every if each["name"] == name]
        return found

    def text(self, dataset: str) -> str:
        """Return the content of a dataset."""
        content: bytes = self.api.datasets.download_dataset(dataset)
        return content.decode()

    def shown(self, dataset: str) -> str:
        """Return what a user sees of a dataset: a page that is not packed, or one in red."""
        shown = self.api.make_get_request(
            f"{self.api.url}/datasets/{dataset}/display", params={"raw": "true"}
        )
        shown.raise_for_status()
        return str(shown.text)

    def files(self, dataset: str) -> Path:
        """Return the folder of a dataset that is one, such as an OME-Zarr."""
        path = Path(self._admin.datasets.show_dataset(dataset)["file_name"])
        return path.with_name(f"{path.stem}_files")

    @staticmethod
    def _wait(show: Any, id_: str) -> dict[str, Any]:
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while (shown := show(id_))["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{id_} is {shown['state']} after {JOB_TIMEOUT_S} s")
            time.sleep(0.3)
        return dict(shown)
