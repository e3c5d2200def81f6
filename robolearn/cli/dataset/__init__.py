"""`robolearn dataset VERB`: look at datasets, check and mend them, make new ones from old ones, convert them."""

from __future__ import annotations

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.registry import Registry

VERBS = Registry(
    "dataset verb",
    {
        "info": "robolearn.cli.dataset.info:main",
        "view": "robolearn.cli.dataset.view:main",
        "stats": "robolearn.cli.dataset.stats:main",
        "validate": "robolearn.cli.dataset.validate:main",
        "repair": "robolearn.cli.dataset.repair:main",
        "merge": "robolearn.cli.dataset.merge:main",
        "split": "robolearn.cli.dataset.split:main",
        "drop": "robolearn.cli.dataset.drop:main",
        "resample": "robolearn.cli.dataset.resample:main",
        "resize": "robolearn.cli.dataset.resize:main",
        "relabel": "robolearn.cli.dataset.relabel:main",
        "features": "robolearn.cli.dataset.features:main",
        "unflip": "robolearn.cli.dataset.unflip:main",
        "edit": "robolearn.cli.dataset.edit:main",
        "convert": "robolearn.cli.dataset.convert:main",
    },
)
USAGE = """Usage: robolearn dataset VERB [OPTIONS]

  info      what is in a dataset: episodes, features, ranges, timing, origin
  view      look at episodes in the browser; edit labels and masks
  stats     statistics of every feature, of all episodes or of a mask
  validate  look for damage and for what spoils training; one line a finding
  repair    salvage unfinished episodes, quarantine broken ones
  merge     make one dataset of several
  split     make several datasets of one
  drop      make a dataset without some episodes or features
  resample  make a dataset at another rate
  resize    make a dataset with images of another size
  relabel   make a dataset whose actions are written in another layout
  features  make a dataset whose features have other names or kinds
  unflip    make a dataset whose quaternions do not flip their sign
  edit      change task texts and labels of episodes, and masks
  convert   make a dataset from one of another format, or the other way round

robolearn dataset VERB --help shows the options of a verb."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if argv[0] not in VERBS:
        raise ConfigError(unknown_name("verb of robolearn dataset", argv[0], VERBS))
    return int(VERBS.resolve(argv[0])(argv[1:]))
