"""Mazes of any size: find a shortest path from the start to the goal."""
