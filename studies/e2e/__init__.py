"""The whole story on a real cluster: deploy, predict, scale, upgrade, roll back, break, delete."""
