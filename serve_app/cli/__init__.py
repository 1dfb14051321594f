"""The command ``serve-app``. Modules here import click only; each command imports what it needs."""
