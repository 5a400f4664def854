"""What Prometheus reads of this gateway: counters and gauges, and the page that shows them."""
