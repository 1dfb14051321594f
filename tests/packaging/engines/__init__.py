"""Tests of serve_app.packaging.engines."""
