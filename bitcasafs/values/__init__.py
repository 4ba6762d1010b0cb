"""Frozen values with their units in their names; parsed at the edges, trusted inside."""
