"""The version, written here, so that a checkout that nobody installed knows it, too."""

VERSION = "0.1.0"
