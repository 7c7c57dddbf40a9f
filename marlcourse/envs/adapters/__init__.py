"""Worlds of other packages. Each module loads its package only when a world is made."""
