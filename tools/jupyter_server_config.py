"""What a JupyterLab needs so that sliders are answered at once: `make install` puts this into its own environment.

The server leaves Nagle's algorithm on where it talks to a page. Of the messages that answer a slider only the first goes
out at once; those after it wait until the page's machine has acknowledged that one, which Linux does after 40 milliseconds.
For an environment of your own, copy this file to ``etc/jupyter`` in it (``jupyter --paths`` tells where that is).
"""

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """A page's connection to a kernel that sends each message when it is there."""

    def connect(self):
        """As ever, with ``TCP_NODELAY``."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()


c.ServerApp.kernel_websocket_connection_class = PromptConnection  # noqa: F821, the name that Jupyter gives such a file
