"""From what is known of a run to a server that shows it, in the background.

A run neither waits for the server nor fails with it. What a run is, and what is worth showing of it, is said by those
that run: runs/ and search/.
"""
