"""Judged rows in the files of other harnesses."""
