"""A store for a person: its numbers, as tables and as a figure. Not here: what training or scoring reads of a store."""
