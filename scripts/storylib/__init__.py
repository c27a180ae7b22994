"""A small company around a real server: its repository, its CI jobs, its people in browsers, its proxy and its visitors.

`scripts/story` and `scripts/forgeries` are made of it. Nothing here knows what they tell.
"""
