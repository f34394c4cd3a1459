"""What people look at, each thing once: the skeleton of pages, charts, colours, stretches of pixels, sheets (CSV).

A low room: it knows classes and biomes and nothing of stores, Earths and networks, so that all of them may use it.
"""
