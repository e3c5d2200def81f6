"""Features that look like something else than they are declared: commands and pictures that an import did not know."""

from __future__ import annotations

from collections.abc import Iterator

from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding
from robolearn.datasets.checks.survey import Survey
from robolearn.datasets.convert.array_features import looks_like_pictures
from robolearn.datasets.convert.naming import recognised
from robolearn.datasets.format.layout import is_encoded

MEND = "robolearn dataset features"


class Meaning(Check):
    name = "features"

    def start(self, survey: Survey) -> Iterator[Finding]:
        flat = {name: f for name, f in survey.features.items() if not is_encoded(f) and f.kind != "event"}
        if flat and not any(feature.kind == "action" for feature in flat.values()):
            # an import that did not know a key put it among the observations
            guess = next((k for k, name in recognised(flat, ()).items() if name == "action"), None)
            way = f", {guess} may be it: {MEND} --rename {guess}=action" if guess else f": {MEND} --kind says which is"
            message = f"no feature is an action{way}"
            yield Finding(severity="info", check=self.name, message=message, feature=guess)
        for name, feature in flat.items():
            if looks_like_pictures(feature):
                message = (
                    f"rows of shape {feature.shape} look like pictures: {MEND} --kind {name}=image makes some of them"
                )
                yield Finding(severity="info", check=self.name, message=message, feature=name, file=f"data/{name}")
