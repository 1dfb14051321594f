"""Tests of whole services: real Ray, real HTTP."""
