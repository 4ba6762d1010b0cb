"""Tests, in the order of the package that they mirror; run them through scripts/test."""
