from tests.lakehouse.conftest import lake_root, local_root, s3_root

__all__ = ["lake_root", "local_root", "s3_root"]
