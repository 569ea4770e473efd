"""Judging a model: does it draw what the prompt says?"""
