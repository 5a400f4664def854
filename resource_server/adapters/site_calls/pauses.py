"""How often a site is asked how its batches are, by the way there."""

from __future__ import annotations

#: A question on the site's link costs next to nothing (seconds).
BY_LINK_S = 2.0
#: A task costs one of the few requests of its Globus identity (seconds).
BY_TASK_S = 10.0
