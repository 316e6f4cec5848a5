"""What learns: encoders, memory banks, objectives, and the pretrainer that joins them. Tensors in, losses out.

Not here: settings, files, data, optimisers. encoders/ and objectives/ list their variants in a dict each.
"""
