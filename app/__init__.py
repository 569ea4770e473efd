"""Darkroom's front door: the HTTP API, the pages and the commands.  It never loads a network."""
