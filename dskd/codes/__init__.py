"""Codes of the teacher's states in a few bytes a token, and how far the teacher is from what they keep."""
