"""sparring: a workbench for generative adversarial networks.

```python
import sparring

run = sparring.train("digits")          # a Run: its directory has samples, checkpoints and the report
gan = sparring.load(run.path)           # a Generator
x = gan.sample(16, seed=0)              # [16, 1, 32, 32] in [-1, 1]
```

Names are imported when they are first used: ``import sparring`` does not import torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sparring.version import __version__

# Threads that wait for each other spin first; OpenMP's 300,000 turns are milliseconds, in which a core that another program
# wants does nothing, many times a step. It reads this once, when torch is imported; what the user has set stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

if TYPE_CHECKING:
    from sparring.augment import AUGMENTATIONS as AUGMENTATIONS
    from sparring.comparison import Comparison as Comparison
    from sparring.comparison import compare as compare
    from sparring.config import TrainConfig as TrainConfig
    from sparring.data import Data as Data
    from sparring.data import open_data as open_data
    from sparring.errors import UsageError as UsageError
    from sparring.evaluation import Evaluation as Evaluation
    from sparring.evaluation import evaluate as evaluate
    from sparring.generator import Generator as Generator
    from sparring.losses import LOSSES as LOSSES
    from sparring.losses import Loss as Loss
    from sparring.metrics import METRICS as METRICS
    from sparring.networks import NETWORKS as NETWORKS
    from sparring.networks import Network as Network
    from sparring.penalties import PENALTIES as PENALTIES
    from sparring.penalties import Penalty as Penalty
    from sparring.pictures import image_grid as image_grid
    from sparring.presets import PRESETS as PRESETS
    from sparring.session import Run as Run
    from sparring.session import load as load
    from sparring.session import train as train
    from sparring.stabilizers import STABILIZERS as STABILIZERS

_HOME = {
    "AUGMENTATIONS": "sparring.augment",
    "Comparison": "sparring.comparison",
    "compare": "sparring.comparison",
    "TrainConfig": "sparring.config",
    "Data": "sparring.data",
    "open_data": "sparring.data",
    "UsageError": "sparring.errors",
    "Evaluation": "sparring.evaluation",
    "evaluate": "sparring.evaluation",
    "Generator": "sparring.generator",
    "LOSSES": "sparring.losses",
    "Loss": "sparring.losses",
    "METRICS": "sparring.metrics",
    "NETWORKS": "sparring.networks",
    "Network": "sparring.networks",
    "PENALTIES": "sparring.penalties",
    "Penalty": "sparring.penalties",
    "image_grid": "sparring.pictures",
    "PRESETS": "sparring.presets",
    "Run": "sparring.session",
    "load": "sparring.session",
    "train": "sparring.session",
    "STABILIZERS": "sparring.stabilizers",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sparring' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
