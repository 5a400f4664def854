"""What runs on a cluster: the functions Globus Compute calls, and the engines they call in turn."""
