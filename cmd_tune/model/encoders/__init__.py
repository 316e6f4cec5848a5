"""Networks that turn a clip of each modality into features and embeddings. Not here: losses, settings, data.

`ENCODERS` lists them by name. To add one, write a subclass of `Encoder` in a file of its own and give it a name here;
`--set encoder=NAME` then chooses it. Settings of its own become fields of `Settings` (cmd_tune/settings.py), named in
the class's `settings`.
"""

from cmd_tune.model.encoders.base import Encoder, GatherFromWorkers, one_worker
from cmd_tune.model.encoders.gru_encoder import GRUEncoder

__all__ = ["ENCODERS", "Encoder", "GRUEncoder", "GatherFromWorkers", "one_worker"]

ENCODERS: dict[str, type[Encoder]] = {"gru": GRUEncoder}
