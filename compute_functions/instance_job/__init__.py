"""The job of one instance on its node: engine and relay, for as long as its order stands."""
