"""What learns: encoders, memory banks, objectives, and the pretrainer that joins them. Tensors in, losses out.

Not here: settings, files, data, optimisers. Encoders and objectives are listed in a dict each.
"""
