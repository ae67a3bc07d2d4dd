"""Examples of programs that use DataKit."""
