"""Links in real time: proxies between real programs, their live control, and how late they were."""
