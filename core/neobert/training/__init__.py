"""The one loop, and what stands around it: parts, precision, metrics, checkpoints, the run's folder."""
