"""The only rooms that import ``ee``: connecting, asking for tables of scenes, asking for pixels."""

from dwplus.earth.session import EarthConfig, Session, connect, connect_config

__all__ = ["EarthConfig", "Session", "connect", "connect_config"]
