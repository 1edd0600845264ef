"""The server that `make install` sets up sends what a kernel says to the page at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.websocket import WebSocketHandler
from traitlets.config import PyFileConfigLoader

ROOT = Path(__file__).parents[2]


def test_a_connection_sends_each_message_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PyFileConfigLoader("jupyter_server_config.py", str(ROOT / "tools")).load_config()
    kind = ServerApp(config=config).kernel_websocket_connection_class
    assert issubclass(kind, ZMQChannelsWebsocketConnection) and hasattr(WebSocketHandler, "set_nodelay")
    told: list = []
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: told.append("connected") or "waits")
    monkeypatch.setattr(kind, "websocket_handler", SimpleNamespace(set_nodelay=told.append))
    assert kind.__new__(kind).connect() == "waits" and told == [True, "connected"]


def test_making_the_environment_puts_it_where_jupyter_looks() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.split("$(STAMP): pyproject.toml", 1)[1].split("\n\n")[0]
    assert "cp tools/jupyter_server_config.py $(VENV)/etc/jupyter/" in recipe
