"""A store for a person: its numbers, as tables and as a figure. Nothing that trains or scores asks for them."""
