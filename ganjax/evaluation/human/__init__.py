"""Blind comparison by people: the page that they see, and the scoring of their answers."""
