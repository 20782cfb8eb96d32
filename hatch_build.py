"""Puts the server's folders inside the one package that a wheel installs, under `kraftpy/_server/`.

So nothing named `raft`, `broker` or `cli` lands in a user's site-packages, while the tree reads as the code does.
Standard builds only: an editable install runs from the checkout, whose root `kraftpy.__main__` puts on the path.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SERVER_FOLDERS = ("cli", "simulation", "broker", "raft", "log_store")


class ServerFolders(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for folder in SERVER_FOLDERS:
                build_data["force_include"][f"{self.root}/{folder}"] = f"kraftpy/_server/{folder}"
