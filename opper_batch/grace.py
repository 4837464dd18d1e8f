"""How long calls in flight have to end when a run is stopped, unless ``grace`` says otherwise."""

from __future__ import annotations

GRACE_SECONDS = 20.0
