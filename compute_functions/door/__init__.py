"""An instance's door: how functions on the site's login node reach it on its compute node."""
