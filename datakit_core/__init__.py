"""DataKit's database: a bare Git repository served as a 9P file system."""

__version__ = "0.1.0"
