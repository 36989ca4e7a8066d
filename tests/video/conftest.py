from tests.cli.fixtures import bench, restore, thinlens

__all__ = ["bench", "restore", "thinlens"]
