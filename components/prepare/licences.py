"""Licences that prompts may come under, by their SPDX identifiers (https://spdx.org/licenses).

To allow another licence, check that it permits the use, then add its SPDX identifier here. For
data without an SPDX licence, such as a company's own, a profile names `LicenseRef-<anything>`,
SPDX's form for a licence that is described elsewhere; describe it in data/README.md.
"""

from __future__ import annotations

import re

ALLOWED = (
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "ISC",
    "MIT",
    "ODC-By-1.0",
    "ODbL-1.0",
    "PDDL-1.0",
    "Unlicense",
)
PATTERN = (
    "^(?:"
    + "|".join(re.escape(name) for name in ALLOWED)
    + r"|LicenseRef-[A-Za-z0-9][A-Za-z0-9.-]*)$"
)
_CANONICAL = {name.casefold(): name for name in ALLOWED}


def canonical_licence(name: str) -> str:
    """Return the identifier as SPDX spells it; an unknown one comes back stripped, unchanged."""
    return _CANONICAL.get(name.strip().casefold(), name.strip())
