"""Measurements that anyone can run from the root of the checkout."""
