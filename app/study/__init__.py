"""A blind study: which of two pictures people take for real, or like better.

`drawing` decides who sees what in which order, `judging` what the answers amount to, `pictures` makes all pictures of
a study alike in everything but what is on them.  Nothing here knows of requests or rows.
"""
