"""The tutorial of clusters: its files are such as Ray and KubeRay read, and it runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "11_more_machines.ipynb"
TEXT = "\n".join(
    "".join(cell["source"])
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] != "code"
)
#: The version of Ray that the tests run with.
PINNED = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def file(name: str) -> str:
    """A file that the notebook's text holds."""
    (found,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", TEXT, re.DOTALL)
    return found


class TestRayUp:
    def test_its_file_is_of_rays_own_schema(self) -> None:
        ray = pytest.importorskip("ray", reason="needs the extra ray")
        jsonschema = pytest.importorskip("jsonschema")
        schema = json.loads(
            (Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text()
        )
        found = yaml.safe_load(file("cluster.yaml"))
        jsonschema.validate(found, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(found | {"nodes": 3}, schema)

    def test_its_nodes_exist(self) -> None:
        found = yaml.safe_load(file("cluster.yaml"))
        types = found["available_node_types"]
        assert found["head_node_type"] in types
        for name, node in types.items():
            assert "InstanceType" in node["node_config"], name
            assert node.get("min_workers", 0) <= node.get("max_workers", 0) <= found["max_workers"]

    def test_nodes_get_the_packages_in_the_version_that_is_tested(self) -> None:
        (command,) = yaml.safe_load(file("cluster.yaml"))["setup_commands"]
        assert f"'ray[default]=={PINNED}'" in command
        assert "fusion_nb[torch,ray]" in command


class TestKubeRay:
    @pytest.fixture
    def spec(self) -> dict[str, Any]:
        found = yaml.safe_load(file("raycluster.yaml"))
        assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", "RayCluster")
        assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", found["metadata"]["name"])
        spec: dict[str, Any] = found["spec"]
        return spec

    def test_its_version_is_the_one_that_is_tested(self, spec: dict[str, Any]) -> None:
        assert spec["rayVersion"] == PINNED
        assert f"rayproject/ray:{PINNED}-py311" in TEXT

    def test_every_group_has_what_the_operator_requires(self, spec: dict[str, Any]) -> None:
        groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
        assert len(groups) > 1
        for group in groups:
            assert isinstance(group["rayStartParams"], dict)
            for container in group["template"]["spec"]["containers"]:
                assert {"name", "image", "resources"} <= {*container}
                assert {*container["resources"]["limits"]} == {"cpu", "memory"}
        images = {group["template"]["spec"]["containers"][0]["image"] for group in groups}
        assert len(images) == 1, "workers need the packages of the head"

    def test_workers_are_between_their_bounds(self, spec: dict[str, Any]) -> None:
        for group in spec["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
            assert group["groupName"]


@pytest.mark.slow
@pytest.mark.integration
def test_it_runs_on_two_nodes(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    quiet = {
        "extra_arguments": ["--log-level=ERROR"],
        "resources": {"metadata": {"path": str(tmp_path)}},
    }
    NotebookClient(notebook, timeout=600, **quiet).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "the same curve on two nodes" in printed
    assert "40 whole rounds" in printed
