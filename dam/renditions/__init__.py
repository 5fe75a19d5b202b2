"""Renditions of originals: one maker for each media family (makers.py), all from one load of the picture."""
