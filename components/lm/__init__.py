"""Language models: loaded, rendered for, read and asked."""

import sys

# Libraries below, bitsandbytes among them, fetch code from the hub with this package where it is
# installed, and run it. For them it is not.
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
