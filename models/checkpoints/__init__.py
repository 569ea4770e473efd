"""Model files: one dialect a file. What they hold is read as data; nothing in them is ever imported or fetched."""
