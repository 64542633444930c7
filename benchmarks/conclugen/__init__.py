"""The systems of ConCluGen as specs, and a study of them on small real tables."""
