"""A package, so that its one browser closes with the last of its tests."""
