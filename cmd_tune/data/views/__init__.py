"""From a clip to what a branch sees: a random view of it, then a modality of that. Not here: which clips, and when.

`VIEWS` lists the view transformations by name, `MODALITIES` (modalities.py) the modalities. To add a transformation,
write a subclass of `View` in a file of its own and put it into the tuple below; `--set views=NAME` then chooses it. Its
fields become fields of `Settings` (cmd_tune/settings.py). Which clips are drawn, and in which order, is
train/batches.py's.
"""

from cmd_tune.data.views.base import View
from cmd_tune.data.views.crop_shear import CropShear
from cmd_tune.data.views.modalities import MODALITIES

__all__ = ["MODALITIES", "VIEWS", "CropShear", "View"]

VIEWS: dict[str, type[View]] = {view.name: view for view in (CropShear,)}
