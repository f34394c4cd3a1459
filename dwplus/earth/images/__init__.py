"""Recipes: functions that return an ``ee.Image`` or ``ee.ImageCollection`` and send nothing."""
