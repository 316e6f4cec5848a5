"""Space files: what a search varies, over which values, judged by which metric. Written as W&B sweeps are."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

import cmd_tune
from cmd_tune.config import PRESETS, Settings, check_setting, plain_yaml, reason_of, usage_error
from cmd_tune.errors import UsageError, nearest
from cmd_tune.search.constraints import Constraint, parse_constraint
