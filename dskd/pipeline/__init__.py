"""The stages: each reads artifacts, calls one room, and writes what comes of it."""
